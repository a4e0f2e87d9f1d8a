//! Access tokens: what one looks like, and what it lets its bearer do.

mod format;
mod grant;

pub use self::format::{AccessToken, NotAToken, TokenId};
pub use self::grant::{
    IssuedToken, Limits, NewToken, Token, TokenHash, TokenRecord, TokenStanding,
};
