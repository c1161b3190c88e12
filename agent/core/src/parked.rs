//! A plan that was received whole and waits for a lease: every render in it is at hand.
//!
//! Owns how a plan as sent becomes a plan that can be acted on. Does not own when (session) nor what follows (intent).

use std::collections::BTreeMap;
use std::sync::Arc;

use starling_model::plan::{Detach, Render, Tombstone};
use starling_model::session::{Desired, DesiredAction};
use starling_model::{Digest, Fence, InstallKey, Uid};

/// A plan with all of its renders, under its fence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The proof of position.
    pub fence: Fence,
    /// The digest of the whole plan.
    pub plan_digest: Digest,
    /// All entries, sorted by install.
    pub entries: Vec<ParkedEntry>,
    /// All tombstones.
    pub tombstones: Vec<Tombstone>,
    /// Set when the cluster is being detached.
    pub detach: Option<Detach>,
}

/// One install of a parked plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedEntry {
    /// Which install.
    pub install: InstallKey,
    /// The assignment behind it.
    pub assignment: Uid,
    /// The assignment's name, for people.
    pub assignment_name: String,
    /// The assignment's revision.
    pub revision: Digest,
    /// What to do.
    pub action: ParkedAction,
}

/// What to do with an install of a parked plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParkedAction {
    /// Apply these objects.
    Render(Arc<Render>),
    /// What is held stays, for this reason.
    Keep(String),
    /// Nothing can be applied, for this reason; what is held stays.
    Blocked(String),
}

/// The renders that are at hand, by digest.
pub type RenderShelf = BTreeMap<Digest, Arc<Render>>;

/// A plan that cannot be parked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParkError {
    /// The hub took a render for held that is not; a new session tells it what is.
    #[error("the plan refers to render {0:?} of {1}, which is not held")]
    RenderNotHeld(Digest, InstallKey),
    /// The objects are not those that the digest was computed over.
    #[error("the render of {0} does not match its digest")]
    RenderDiffers(InstallKey),
    /// Two entries name one install.
    #[error("the plan names install {0} twice")]
    NamedTwice(InstallKey),
}

impl Parked {
    /// Puts together a plan as sent with the renders at hand.
    ///
    /// # Errors
    /// A render that is neither sent nor at hand, one that does not match its digest, an install named twice.
    pub fn new(desired: Desired, shelf: &RenderShelf) -> Result<Self, ParkError> {
        let mut entries = BTreeMap::new();
        for entry in desired.entries {
            let install = entry.install;
            let action = match entry.action {
                DesiredAction::HeldRender(digest) => {
                    let Some(render) = shelf.get(&digest) else {
                        return Err(ParkError::RenderNotHeld(digest, install));
                    };
                    ParkedAction::Render(Arc::clone(render))
                }
                DesiredAction::Render(render) => {
                    if Render::new(render.objects.clone(), render.retires.clone()).digest != render.digest {
                        return Err(ParkError::RenderDiffers(install));
                    }
                    ParkedAction::Render(render)
                }
                DesiredAction::Keep(reason) => ParkedAction::Keep(reason),
                DesiredAction::Blocked(reason) => ParkedAction::Blocked(reason),
            };
            let parked = ParkedEntry {
                install: install.clone(),
                assignment: entry.assignment,
                assignment_name: entry.assignment_name,
                revision: entry.revision,
                action,
            };
            if entries.insert(install.clone(), parked).is_some() {
                return Err(ParkError::NamedTwice(install));
            }
        }
        Ok(Self {
            fence: desired.fence,
            plan_digest: desired.plan_digest,
            entries: entries.into_values().collect(),
            tombstones: desired.tombstones,
            detach: desired.detach,
        })
    }

    /// Returns the renders of the plan, by install.
    pub fn renders(&self) -> impl Iterator<Item = (&InstallKey, Uid, &Arc<Render>)> {
        self.entries.iter().filter_map(|entry| match &entry.action {
            ParkedAction::Render(render) => Some((&entry.install, entry.assignment, render)),
            ParkedAction::Keep(_) | ParkedAction::Blocked(_) => None,
        })
    }
}
