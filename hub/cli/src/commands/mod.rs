//! The commands: each asks the hub and shows what it answered.

mod adopt;
mod apply;
mod approve;
mod config;
mod delete;
mod describe;
mod detach;
mod get;
mod run;
mod status;
mod store;
mod watch;

use clap::CommandFactory as _;

use crate::arguments::{Arguments, Command, Global};
use crate::contexts::target;
use crate::failure::Failure;
use crate::hub::Hub;
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
        Command::Get(arguments) => get::run(&target::resolve(&global)?, global.timeout, &arguments, output).await,
        Command::Describe(arguments) => describe::run(&connect(&global).await?, &arguments, output).await,
        Command::Adopt(arguments) => adopt::run(&connect(&global).await?, arguments, output).await,
        Command::Detach(arguments) => detach::run(&connect(&global).await?, &arguments, output).await,
        Command::Apply(arguments) => apply::run(&connect(&global).await?, &arguments, output).await,
        Command::Delete(arguments) => delete::run(&connect(&global).await?, &arguments, output).await,
        Command::Approve(arguments) => approve::run(&connect(&global).await?, &arguments, output).await,
        Command::Reconcile(arguments) => run::run(&connect(&global).await?, "reconcile", &arguments, output).await,
        Command::Suspend(arguments) => run::run(&connect(&global).await?, "suspend", &arguments, output).await,
        Command::Resume(arguments) => run::run(&connect(&global).await?, "resume", &arguments, output).await,
        Command::Store(command) => store::run(&connect(&global).await?, &command, output).await,
        Command::Config(command) => config::run(&global, command, output),
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "starling", &mut script);
            output.raw(&String::from_utf8_lossy(&script))
        }
    }
}

async fn connect(global: &Global) -> Result<Hub, Failure> {
    Hub::connect(&target::resolve(global)?, global.timeout).await
}
