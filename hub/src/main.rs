//! `starling-hub`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use starling_hub::config::{Command, Config, MoveCommand};
use starling_hub::metrics::Metrics;
use starling_hub::{moving, serve, telemetry};
use starling_telemetry::export::{self, Export, ExportError, Service};

/// How long the last traces of a stopping hub may take to leave.
const LAST_TRACES: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let (config, metrics) = (Config::parse(), Metrics::new());
    let runtime = tokio::runtime::Runtime::new().expect("the system has threads for a runtime");
    if let Some(Command::Store { command }) = &config.command {
        return runtime.block_on(do_once(command));
    }
    runtime.block_on(run(&config, metrics))
}

async fn run(config: &Config, metrics: Metrics) -> ExitCode {
    let export = match start_export(config, &metrics) {
        Ok(export) => export,
        Err(error) => return refuse(&error),
    };
    if let Err(error) = telemetry::init(config.log_format, export.as_ref()) {
        return refuse(&error);
    }
    let outcome = serve::serve(config, metrics).await;
    if let Some(export) = export {
        export.flush(LAST_TRACES).await;
    }
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    tracing::error!(error = format!("{error:#}"), "the hub ends");
    ExitCode::FAILURE
}

/// Does what a command says and tells what was done.
async fn do_once(command: &MoveCommand) -> ExitCode {
    match moving::run(command).await {
        Ok(done) => {
            println!("{done}");
            ExitCode::SUCCESS
        }
        Err(error) => refuse(&error),
    }
}

/// Starts exporting traces where somebody asks for it.
fn start_export(config: &Config, metrics: &Metrics) -> Result<Option<Export>, ExportError> {
    let Some(endpoint) = export::endpoint(config.otlp_endpoint.as_deref()) else { return Ok(None) };
    let service = Service { name: "starling-hub", version: env!("CARGO_PKG_VERSION"), fleet: config.fleet.clone() };
    Export::start(&endpoint, &service, &metrics.export).map(Some)
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("error: {error}");
    ExitCode::FAILURE
}
