//! The words that hub and agent share, pure: ids, values and their canonical bytes, digests, fences,
//! health, plans and tombstones, limits, error codes.
//!
//! Owns what both sides must understand in exactly the same way. Does not own any decision (those are in
//! the two cores), nor the wire format (that is `starling-proto`; conversion happens in the shells).
//! Nothing here reads a clock, draws randomness or performs IO.

pub mod canonical;
pub mod digest;
pub mod error;
pub mod facts;
pub mod fence;
pub mod health;
pub mod ids;
pub mod install;
pub mod labels;
pub mod limits;
pub mod object;
pub mod plan;
pub mod sabotage;
pub mod session;
pub mod time;
pub mod value;

pub use digest::{Digest, DigestWriter};
pub use error::ErrorCode;
pub use facts::Facts;
pub use fence::{Era, Fence, FleetKey, Position};
pub use health::{Health, ObjectStatus};
pub use ids::{ClusterId, InstallKey, NameError, ResourceName, Uid};
pub use install::{InstallReport, InstallState};
pub use limits::Limits;
pub use object::{Object, ObjectKey};
pub use plan::{Action, BlockedReason, Detach, Entry, KeepReason, Plan, Tombstone};
pub use sabotage::Guard;
pub use time::Millis;
pub use value::Value;
