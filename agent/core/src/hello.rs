//! What an agent says first, put together from what its parts know.

use starling_model::limits::PROTOCOL_VERSIONS;
use starling_model::session::{Held, Hello};
use starling_model::{InstallKey, Uid};

use crate::inventory::Inventory;
use crate::session::Session;
use crate::status_book::{BookDigests, StatusBook};

/// Who an agent is, beside its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Speaker {
    /// The UID of the cluster's `kube-system` namespace.
    pub fingerprint: String,
    /// Drawn when the process started.
    pub instance: Uid,
    /// The agent's version, for people.
    pub agent_version: String,
}

/// Composes Hello and starts a session of the book: what changes from now on follows as a delta or in a snapshot.
/// `forward` asks that the stream is forwarded to the owner.
#[must_use]
pub fn compose_hello(
    session: &Session,
    book: &mut StatusBook,
    inventory: &Inventory,
    speaker: &Speaker,
    forward: bool,
) -> Hello {
    let digests = book.begin_session();
    compose(session, digests, inventory, speaker, forward)
}

/// Composes Hello for a second link; the session of the book goes on until the second is welcomed.
#[must_use]
pub fn compose_second_hello(
    session: &Session,
    book: &mut StatusBook,
    inventory: &Inventory,
    speaker: &Speaker,
    forward: bool,
) -> Hello {
    let digests = book.begin_second();
    compose(session, digests, inventory, speaker, forward)
}

fn compose(session: &Session, digests: BookDigests, inventory: &Inventory, speaker: &Speaker, forward: bool) -> Hello {
    let mut held: std::collections::BTreeMap<InstallKey, Held> =
        inventory.held().into_iter().map(|held| (held.install.clone(), held)).collect();
    // A parked plan is at hand as well: its renders need not be sent again.
    for (install, assignment, render) in session.parked().iter().flat_map(|parked| parked.renders()) {
        let parked = Held { install: install.clone(), assignment, render: render.digest };
        held.insert(install.clone(), parked);
    }
    Hello {
        protocols: PROTOCOL_VERSIONS,
        fingerprint: speaker.fingerprint.clone(),
        instance: speaker.instance,
        agent_version: speaker.agent_version.clone(),
        facts: digests.facts,
        plan_digest: session.plan_digest(),
        held: held.into_values().collect(),
        kinds: digests.kinds,
        installs_digest: digests.installs,
        newest_fence: session.newest_fence(),
        newest_epoch: session.newest_epoch(),
        forward,
    }
}
