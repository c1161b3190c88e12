//! `starling-guard PATH`: goes one path once, for a tool that counts; without a path, lists them.

use std::process::ExitCode;

use starling_guard::PATHS;

fn main() -> ExitCode {
    let Some(wanted) = std::env::args().nth(1) else {
        for path in PATHS {
            println!("{}: {}", path.name, path.what);
        }
        return ExitCode::SUCCESS;
    };
    let Some(path) = PATHS.iter().find(|path| path.name == wanted) else {
        eprintln!("error: there is no path {wanted}: starling-guard without arguments lists them");
        return ExitCode::FAILURE;
    };
    (path.run)();
    ExitCode::SUCCESS
}
