//! `starling`, the command line of Starling; also `kubectl starling` when installed as `kubectl-starling`.

use std::process::ExitCode;

fn main() -> ExitCode {
    starling_cli::main()
}
