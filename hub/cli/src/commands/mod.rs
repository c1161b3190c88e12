//! The commands: each asks the hub and shows what it answered.

mod adopt;
mod apply;
mod approve;
mod completion;
mod config;
mod confirm;
mod delete;
mod describe;
mod detach;
mod get;
mod run;
mod shards;
mod status;
mod store;
mod token;
mod watch;
mod whoami;

use crate::arguments::{Arguments, Command, Global};
use crate::contexts::target;
use crate::failure::Failure;
use crate::hub::Hub;
use crate::source::Source;
use crate::terminal::{Output, Terminal};

/// Runs one command; what it wrote is out when this returns.
///
/// # Errors
/// What the command failed with; a closed pipe is a quiet failure.
pub(crate) async fn run(arguments: Arguments, terminal: &Terminal) -> Result<(), Failure> {
    let mut output = Output::new(terminal);
    let result = dispatch(arguments, &mut output).await;
    match output.flush() {
        Err(failure) if result.is_ok() => Err(failure),
        _ => result,
    }
}

async fn dispatch(arguments: Arguments, output: &mut Output) -> Result<(), Failure> {
    let Arguments { global, command } = arguments;
    match command {
        Command::Status(arguments) => status::status(&connect(&global).await?, &arguments, output).await,
        Command::Version(arguments) => status::version(&global, &arguments, output).await,
        Command::Whoami(arguments) => whoami::run(&connect(&global).await?, &arguments, output).await,
        Command::Get(arguments) => get::run(&target::resolve(&global).await?, global.timeout, &arguments, output).await,
        Command::Describe(arguments) => describe::run(&connect(&global).await?, &arguments, output).await,
        Command::Adopt(arguments) => {
            let (hub, source) = connect_to_edit(&global).await?;
            adopt::run(&hub, &source, arguments, output).await
        }
        Command::Detach(arguments) => {
            let (hub, source) = connect_to_edit(&global).await?;
            detach::run(&hub, &source, &arguments, output).await
        }
        Command::Apply(arguments) => {
            let (hub, source) = connect_to_edit(&global).await?;
            apply::run(&hub, &source, &arguments, output).await
        }
        Command::Delete(arguments) => {
            let target = target::resolve(&global).await?;
            delete::run(&Hub::connect(&target, global.timeout).await?, &target, &arguments, output).await
        }
        Command::Create(arguments) => token::create(&connect(&global).await?, arguments, output).await,
        Command::Approve(arguments) => approve::run(&connect(&global).await?, &arguments, output).await,
        Command::Reconcile(arguments) => run::run(&connect(&global).await?, "reconcile", &arguments, output).await,
        Command::Suspend(arguments) => run::run(&connect(&global).await?, "suspend", &arguments, output).await,
        Command::Resume(arguments) => run::run(&connect(&global).await?, "resume", &arguments, output).await,
        Command::Store(command) => store::run(&connect(&global).await?, &command, output).await,
        Command::Shards(command) => shards::run(&connect(&global).await?, &command, output).await,
        Command::Config(arguments) => match arguments.command {
            Some(command) => config::run(&global, command, output),
            None => config::show(&global, arguments.output, output).await,
        },
        Command::Completion { shell } => completion::script(shell, output),
        Command::Complete { words } => completion::complete(&words, output),
    }
}

async fn connect(global: &Global) -> Result<Hub, Failure> {
    Hub::connect(&target::resolve(global).await?, global.timeout).await
}

/// Connects, and finds out where the hub's resources are edited.
async fn connect_to_edit(global: &Global) -> Result<(Hub, Source), Failure> {
    let target = target::resolve(global).await?;
    let hub = Hub::connect(&target, global.timeout).await?;
    let source = Source::find(&hub, &target).await?;
    Ok((hub, source))
}
