//! `starling approve`.

use starling_model::Uid;
use starling_proto::v1;

use crate::arguments::change::ApproveArguments;
use crate::failure::{Exit, Failure};
use crate::hub::Hub;
use crate::render::age::now;
use crate::render::table::Table;
use crate::terminal::{Output, note};
use crate::views::proposal::ProposalView;
use crate::views::{Query, View, list_all};

/// Lists the proposals, or approves one with its count.
///
/// # Errors
/// [`Exit::ApprovalRequired`] when nobody named the count.
pub(super) async fn run(hub: &Hub, arguments: &ApproveArguments, output: &mut Output) -> Result<(), Failure> {
    let proposals: Vec<ProposalView> = list_all(hub, &Query::default()).await?;
    let Some(text) = &arguments.proposal else {
        return list(&proposals, output);
    };
    let proposal = choose(&proposals, text)?;
    let count = approved_count(proposal, arguments, output)?;
    let id: Uid = proposal
        .id
        .parse()
        .map_err(|_| Failure::new(Exit::Failed, format!("the hub gave {:?} as a proposal's id", proposal.id)))?;
    let request = v1::ApproveRequest { proposal: id.0.to_vec(), count };
    let answer = hub.call(request, |mut client, request| async move { client.approve(request).await }).await?;
    output
        .line(format!("proposal {} approved: {} installs of {} go", proposal.id, answer.installs, proposal.assignment))
}

fn list(proposals: &[ProposalView], output: &mut Output) -> Result<(), Failure> {
    if proposals.is_empty() {
        note("nothing waits for approval");
        return Ok(());
    }
    let now = now();
    let rows: Vec<_> = proposals.iter().map(|proposal| proposal.cells(now)).collect();
    Table::print(output, ProposalView::COLUMNS, &rows)?;
    note("approve one with `starling approve ID --count INSTALLS`");
    Ok(())
}

/// Finds a proposal by its id or the beginning of it.
fn choose<'a>(proposals: &'a [ProposalView], text: &str) -> Result<&'a ProposalView, Failure> {
    let start = text.strip_prefix("proposal/").unwrap_or(text).to_lowercase();
    let matching: Vec<&ProposalView> = proposals.iter().filter(|proposal| proposal.id.starts_with(&start)).collect();
    match matching.as_slice() {
        [proposal] => Ok(proposal),
        [] => Err(Failure::new(Exit::NotFound, format!("no proposal {text:?} waits"))
            .next("`starling approve` lists those that wait")),
        several => Err(Failure::usage(format!("{text:?} is the beginning of {} proposals' ids", several.len()))
            .next("give more of the id")),
    }
}

fn approved_count(proposal: &ProposalView, arguments: &ApproveArguments, output: &Output) -> Result<u64, Failure> {
    let what = format!("{} installs of {} would go", proposal.installs, proposal.assignment);
    match arguments.count {
        Some(count) if count == proposal.installs => Ok(count),
        Some(count) => Err(Failure::new(Exit::ApprovalRequired, format!("{what}, not {count}; nothing was approved"))
            .next(format!("if that is meant: --count {}", proposal.installs))),
        None if output.terminal.is_interactive() => {
            note(&format!("{what}: {}", proposal.reason));
            if !proposal.examples.is_empty() {
                note(&format!("  {}", proposal.examples.join(", ")));
            }
            let question = format!("Type the number of installs to approve ({}):", proposal.installs);
            if output.terminal.ask(&question)? == proposal.installs.to_string() {
                return Ok(proposal.installs);
            }
            Err(Failure::new(Exit::ApprovalRequired, "not approved"))
        }
        None => Err(Failure::new(Exit::ApprovalRequired, format!("{what}; nothing was approved"))
            .next(format!("approve the count: --count {}", proposal.installs))),
    }
}
