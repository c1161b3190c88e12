//! `starling store recover`.

use starling_proto::v1;

use super::status;
use crate::arguments::change::StoreCommand;
use crate::failure::{Exit, Failure};
use crate::hub::Hub;
use crate::render::paint::Paint;
use crate::terminal::{Output, note};

const EXPLANATION: &str = "\
Recovering begins a new era for this fleet:
  - what the hub's resources say now is taken as the truth, and the clusters move again;
  - clusters keep what they have: nothing is removed because it is missing;
  - removals and approvals from before wait for approval again;
  - join tokens that are still open are void.
If the old store still exists, stop the hub and put it back instead.";

/// Cares for the hub's store.
pub(super) async fn run(hub: &Hub, command: &StoreCommand, output: &mut Output) -> Result<(), Failure> {
    match command {
        StoreCommand::Recover { fleet, yes } => recover(hub, fleet, *yes, output).await,
    }
}

async fn recover(hub: &Hub, fleet: &str, yes: bool, output: &mut Output) -> Result<(), Failure> {
    let now = status::get(hub).await?;
    if now.fleet != fleet {
        return Err(Failure::usage(format!("this hub serves the fleet {:?}, not {fleet:?}", now.fleet))
            .next("`starling config get-contexts` shows the hubs; nothing was changed"));
    }
    if now.hold_reason.is_empty() {
        return Err(Failure::new(
            Exit::Failed,
            format!("the fleet {fleet} does not hold: there is nothing to recover"),
        ));
    }
    note(&output.terminal.paint_error(&format!("the fleet holds: {}", now.hold_reason), Paint::Bad));
    note(EXPLANATION);
    if !yes {
        if !output.terminal.is_interactive() {
            return Err(Failure::new(Exit::ApprovalRequired, "recovering needs a confirmation; nothing was changed")
                .next(format!("starling store recover --fleet {fleet} --yes")));
        }
        if output.terminal.ask("Type the fleet's name to recover:")? != fleet {
            return Err(Failure::new(Exit::ApprovalRequired, "not confirmed; nothing was changed"));
        }
    }
    let request = v1::RecoverStoreRequest { fleet: fleet.to_owned() };
    let answer = hub.call(request, |mut client, request| async move { client.recover_store(request).await }).await?;
    output
        .line(format!("the fleet {fleet} moves again, in era {} at position {}", answer.era_number, answer.position))?;
    note("what waits for approval: `starling approve`");
    Ok(())
}
