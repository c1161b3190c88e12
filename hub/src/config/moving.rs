//! The commands that move the store, and their flags: those of the hub that say where a store is.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{StoreConfig, StoreKind};

/// What to do instead of running the hub.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Copies the store elsewhere, while no hub runs on it; it says what it did, and doing it again changes nothing
    Store {
        /// What to do.
        #[command(subcommand)]
        command: MoveCommand,
    },
}

/// What to do with the store.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum MoveCommand {
    /// Writes the store into a file
    Export {
        /// Where the store is.
        #[command(flatten)]
        place: Place,
        /// The file; an earlier one of the same fleet is replaced
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Takes a backup of a store in etcd that hubs run on; once they have gone on, it is behind the fleet
        #[arg(long)]
        live: bool,
    },
    /// Writes a file into the store, which has to be empty or hold the same
    Import {
        /// Where the store is.
        #[command(flatten)]
        place: Place,
        /// The file
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
    },
    /// Copies the store of the other kind into one that is empty or holds the same
    Copy {
        /// Where both are; which is which says `--to`.
        #[command(flatten)]
        place: Place,
        /// What to copy to; the other kind is copied from
        #[arg(long, value_enum)]
        to: StoreKind,
    },
}

/// Where a fleet's stores are.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct Place {
    /// The fleet's name
    #[arg(long, env = "STARLING_HUB_FLEET", default_value = "starling", value_parser = super::label)]
    pub fleet: String,
    /// The directory with the file of the embedded store
    #[arg(long, env = "STARLING_HUB_STATE", value_name = "DIR", default_value = "/var/lib/starling")]
    pub state: PathBuf,
    /// Which store, and how etcd is reached.
    #[command(flatten)]
    pub store: StoreConfig,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::*;
    use crate::config::Config;

    fn parse(line: &str) -> Result<Option<Command>, clap::Error> {
        let parsed = Config::try_parse_from(std::iter::once("starling-hub").chain(line.split_whitespace()));
        parsed.map(|config| config.command)
    }

    #[test]
    fn commands_take_the_hubs_own_flags() {
        Config::command().debug_assert();
        assert_eq!(parse("--fleet lab").unwrap(), None);
        let copy = parse("store copy --to etcd --fleet lab --state /s --etcd-endpoints http://a:2379").unwrap();
        let Some(Command::Store { command: MoveCommand::Copy { place, to: StoreKind::Etcd } }) = copy else {
            panic!("{copy:?}")
        };
        assert_eq!((place.fleet.as_str(), place.state), ("lab", PathBuf::from("/s")));
        for wrong in ["store", "store export", "store copy", "store copy --to file", "store import --from"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
