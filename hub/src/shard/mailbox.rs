//! What the process has to tell one session: the latest only, never a queue without a bound.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use starling_model::Uid;
use starling_model::session::{Command, CommandResult};
use tokio::sync::{Notify, oneshot};

use crate::session::End;

/// Commands of one session that are sent and not answered, at most.
const COMMANDS: usize = 64;

/// The letters for one session; its task is woken when there is one.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    letters: Mutex<Letters>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Letters {
    end: Option<End>,
    desired: bool,
    record: bool,
    redirect: Option<(String, u64)>,
    commands: VecDeque<Command>,
    results: BTreeMap<Uid, oneshot::Sender<CommandResult>>,
}

/// What a session's task finds in its mailbox.
#[derive(Debug, Default)]
pub(crate) struct Mail {
    /// The session is to end.
    pub(crate) end: Option<End>,
    /// The plan is another one.
    pub(crate) desired: bool,
    /// The cluster's identity is to be recorded.
    pub(crate) record: bool,
    /// The cluster belongs to the process at this address, as of this epoch.
    pub(crate) redirect: Option<(String, u64)>,
    /// Commands wait.
    pub(crate) commands: bool,
}

impl Mailbox {
    /// Waits for a letter; may be cancelled.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Takes what is there; commands stay until they are sent.
    pub(crate) fn open(&self) -> Mail {
        let mut letters = self.letters();
        Mail {
            end: letters.end.take(),
            desired: std::mem::take(&mut letters.desired),
            record: std::mem::take(&mut letters.record),
            redirect: letters.redirect.take(),
            commands: !letters.commands.is_empty(),
        }
    }

    /// Ends the session; the first reason stays.
    pub(crate) fn end(&self, end: End) {
        self.letters().end.get_or_insert(end);
        self.wake.notify_one();
    }

    /// Tells that the plan is another one.
    pub(crate) fn desired(&self) {
        self.letters().desired = true;
        self.wake.notify_one();
    }

    /// Tells that the cluster's identity is to be recorded.
    pub(crate) fn record(&self) {
        self.letters().record = true;
        self.wake.notify_one();
    }

    /// Tells that the cluster belongs to the process at an address.
    pub(crate) fn redirect(&self, address: String, epoch: u64) {
        self.letters().redirect = Some((address, epoch));
        self.wake.notify_one();
    }

    /// Gives a command to be sent; `None` when too many wait for their result.
    pub(crate) fn command(&self, command: Command) -> Option<oneshot::Receiver<CommandResult>> {
        let mut letters = self.letters();
        // Whoever asked may have given up.
        letters.results.retain(|_, result| !result.is_closed());
        if letters.results.len() >= COMMANDS {
            return None;
        }
        let (sender, receiver) = oneshot::channel();
        letters.results.insert(command.id, sender);
        letters.commands.push_back(command);
        drop(letters);
        self.wake.notify_one();
        Some(receiver)
    }

    /// Takes the next command that somebody still waits for.
    pub(crate) fn next_command(&self) -> Option<Command> {
        let mut letters = self.letters();
        loop {
            let command = letters.commands.pop_front()?;
            if letters.results.get(&command.id).is_some_and(|result| !result.is_closed()) {
                return Some(command);
            }
        }
    }

    /// Hands a result to whoever asked; false when nobody did.
    pub(crate) fn result(&self, result: CommandResult) -> bool {
        let Some(sender) = self.letters().results.remove(&result.id) else { return false };
        sender.send(result).is_ok()
    }

    /// Tells everybody who waits for a result that none comes.
    pub(crate) fn abandon(&self) {
        let mut letters = self.letters();
        letters.commands.clear();
        letters.results.clear();
    }

    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use starling_model::session::CommandVerb;

    use super::*;

    fn command(number: u8) -> Command {
        Command { id: Uid([number; 16]), verb: CommandVerb::Reconcile, objects: vec![], token: String::new() }
    }

    #[tokio::test]
    async fn letters_collapse_and_wake_once() {
        let mailbox = Mailbox::default();
        mailbox.desired();
        mailbox.desired();
        mailbox.end(End::Silent);
        mailbox.end(End::Replaced);
        mailbox.woken().await;
        let mail = mailbox.open();
        assert!(mail.desired && matches!(mail.end, Some(End::Silent)) && !mail.record);
        assert!(!mailbox.open().desired);
    }

    #[tokio::test]
    async fn commands_are_bounded_and_answered() {
        let mailbox = Mailbox::default();
        let mut waiting: Vec<_> = (0..64).map(|number| mailbox.command(command(number)).unwrap()).collect();
        assert!(mailbox.command(command(64)).is_none());
        // Somebody gives up, which makes room.
        drop(waiting.remove(0));
        assert!(mailbox.command(command(64)).is_some());
        assert_eq!(mailbox.next_command(), Some(command(1)));
        assert!(mailbox.result(CommandResult { id: Uid([1; 16]), outcomes: vec![] }));
        assert!(!mailbox.result(CommandResult { id: Uid([1; 16]), outcomes: vec![] }));
        assert_eq!(waiting.remove(0).await.unwrap().id, Uid([1; 16]));
        mailbox.abandon();
        assert!(waiting.remove(0).await.is_err());
    }
}
