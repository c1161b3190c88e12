//! The commands that move a store: embedded, etcd and file, from any to any.
//!
//! Owns opening the two ends and saying what was done. Does not own what is carried: that is [`crate::store::transfer`].

use std::path::Path;
use std::sync::Arc;

use crate::config::{MoveCommand, Place, StoreKind};
use crate::ports::{Clock, OsEntropy, SystemClock, TcpDialer};
use crate::store::etcd::EtcdStore;
use crate::store::redb::RedbStore;
use crate::store::transfer::{Content, TransferError, Written};
use crate::store::{Store, StoreError};

/// The name of such a command among the processes that write.
const PROCESS: &str = "store-command";

/// The file of the embedded store, in the state directory.
const FILE: &str = "store.redb";

/// Does what a command says, and returns what was done, for people.
///
/// # Errors
/// See [`TransferError`]; then nothing was changed.
pub async fn run(command: &MoveCommand) -> Result<String, TransferError> {
    match command {
        MoveCommand::Export { place, to, live } => {
            let source = End::open(place, place.store.store, true).await?;
            let content = Content::of(source.store.as_ref(), &place.fleet, *live).await?;
            content.into_file(to)?;
            Ok(format!("wrote {} from {} to {}", content.summary(), source.name, to.display()))
        }
        MoveCommand::Import { place, from } => {
            let content = Content::from_file(from)?;
            check_fleet(&content, &place.fleet)?;
            let target = End::open(place, place.store.store, false).await?;
            target.write(&content, &from.display().to_string()).await
        }
        MoveCommand::Copy { place, to } => {
            let from = match to {
                StoreKind::Embedded => StoreKind::Etcd,
                StoreKind::Etcd => StoreKind::Embedded,
            };
            let source = End::open(place, from, true).await?;
            let content = Content::of(source.store.as_ref(), &place.fleet, false).await?;
            let target = End::open(place, *to, false).await?;
            target.write(&content, &source.name).await
        }
    }
}

/// One of the two stores.
struct End {
    store: Arc<dyn Store>,
    name: String,
}

impl End {
    async fn open(place: &Place, kind: StoreKind, is_source: bool) -> Result<Self, StoreError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        match kind {
            StoreKind::Embedded => {
                let file = place.state.join(FILE);
                if is_source && !file.exists() {
                    return Err(unusable(&file, "it is not there: check --state"));
                }
                std::fs::create_dir_all(&place.state).map_err(|error| unusable(&place.state, &error.to_string()))?;
                let store = RedbStore::open(&file, clock)?;
                Ok(Self { store: Arc::new(store), name: file.display().to_string() })
            }
            StoreKind::Etcd => {
                let options = place.store.etcd(&place.fleet, PROCESS);
                let name = format!("etcd at {}", options.prefix);
                let store = EtcdStore::connect(options, Arc::new(TcpDialer), clock, Arc::new(OsEntropy)).await?;
                Ok(Self { store: Arc::new(store), name })
            }
        }
    }

    async fn write(&self, content: &Content, source: &str) -> Result<String, TransferError> {
        let (summary, name) = (content.summary(), &self.name);
        Ok(match content.write_into(self.store.as_ref()).await? {
            Written::Now => format!("copied {summary} from {source} to {name}"),
            Written::Before => format!("{name} already holds {summary} as in {source}: nothing to do"),
        })
    }
}

fn check_fleet(content: &Content, fleet: &str) -> Result<(), StoreError> {
    let found = &content.summary().fleet;
    if found == fleet {
        return Ok(());
    }
    Err(StoreError::OtherFleet { found: found.clone(), wanted: fleet.to_owned() })
}

fn unusable(path: &Path, problem: &str) -> StoreError {
    StoreError::Unusable { path: path.to_owned(), problem: problem.to_owned() }
}
