//! Builds every program of the recipe table, or those named on the command line, into the cache and prints their paths.

use starling_realparts::{Program, Programs};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = names.iter().find(|name| Program::ALL.iter().all(|program| program.name() != name.as_str()))
    {
        return Err(format!("{unknown} is not one of {:?}", Program::ALL.map(Program::name)).into());
    }
    let wanted: Vec<Program> = Program::ALL
        .into_iter()
        .filter(|program| names.is_empty() || names.iter().any(|name| name == program.name()))
        .collect();
    let programs = Programs::ensure(&wanted)?;
    for program in wanted {
        println!("{}", programs.path(program)?.display());
    }
    Ok(())
}
