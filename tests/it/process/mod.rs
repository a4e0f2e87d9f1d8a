//! The process: what a stranger tries first, how it starts, ends, and does without.

mod audit;
mod commands;
mod degraded;
mod keyring;
mod keys_in_use;
mod memory;
mod rights;
mod rotation;
mod seeds;
mod start_and_end;
mod tls;
mod tour;
mod verify;
