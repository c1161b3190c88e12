//! `starling-hub`.

use std::process::ExitCode;

use clap::Parser;
use starling_hub::config::Config;
use starling_hub::{serve, telemetry};

fn main() -> ExitCode {
    let config = Config::parse();
    if let Err(error) = telemetry::init(config.log_format) {
        eprintln!("error: {error}");
        return ExitCode::FAILURE;
    }
    let runtime = tokio::runtime::Runtime::new().expect("the system has threads for a runtime");
    match runtime.block_on(serve::serve(&config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = format!("{error:#}"), "the hub ends");
            ExitCode::FAILURE
        }
    }
}
