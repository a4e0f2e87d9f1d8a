//! What `keys rotate`, `keys retire` and `keys status` do.
//!
//! A key is replaced in an order in which nobody ever seals by a key that somebody else lacks: it is
//! added, held by every replica, then sealed by; then the data keys are wrapped anew by it. How far
//! that has come is in the file (`next`, and which key is the primary) and in the rows (which key
//! each names), and nowhere else; so whoever is killed is followed by somebody who goes on from there.

mod fleet;
mod progress;
mod retire;
mod rotate;
mod status;

pub use self::retire::retire;
pub use self::rotate::rotate;
pub use self::status::{KeyReport, status};
use crate::store::{RotationLock, Store};

/// Keeps other rotations out.
async fn locked(store: &dyn Store) -> anyhow::Result<Box<dyn RotationLock>> {
    // Of a process that was killed, the database learns a moment later.
    for _ in 0..20 {
        if let Some(lock) = store.lock_rotation().await? {
            return Ok(lock);
        }
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
    }
    anyhow::bail!("another `keys rotate` or `keys retire` is at work on this database")
}
