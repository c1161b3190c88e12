//! The part of `protoc` that prost's build scripts call, over protox: descriptors of protos into a file.
//!
//! Owns the flags `-I`, `-o`, `--include_imports`, `--include_source_info` and `--version`. Generates no code: its callers do. The
//! script beside it builds it when a build script of a dependency asks for `protoc`.

use std::path::PathBuf;
use std::process::ExitCode;

use protox::Compiler;

/// What build scripts print when they ask for the version; a version whose flags are those that are taken here.
const VERSION: &str = "libprotoc 31.0 (starling-protoc)";

/// What was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments {
    includes: Vec<PathBuf>,
    output: Option<PathBuf>,
    imports: bool,
    source_info: bool,
    version: bool,
    files: Vec<PathBuf>,
}

fn main() -> ExitCode {
    match Arguments::parse(std::env::args().skip(1)).and_then(|arguments| run(&arguments)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::FAILURE
        }
    }
}

impl Arguments {
    fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut parsed, mut arguments) = (Self::default(), arguments);
        while let Some(argument) = arguments.next() {
            let mut value = |flag: &str| arguments.next().ok_or_else(|| format!("{flag} needs a path"));
            match argument.as_str() {
                "--version" => parsed.version = true,
                "--include_imports" => parsed.imports = true,
                "--include_source_info" => parsed.source_info = true,
                // Every protoc of these years takes it, and it says nothing any more.
                "--experimental_allow_proto3_optional" => {}
                "-I" | "--proto_path" => parsed.includes.push(value("-I")?.into()),
                "-o" | "--descriptor_set_out" => parsed.output = Some(value("-o")?.into()),
                other => match (other.strip_prefix("-I"), other.strip_prefix('-')) {
                    (Some(path), _) => parsed.includes.push(path.into()),
                    (None, Some(_)) => return Err(format!("{other} is not taken: set PROTOC to a whole protoc")),
                    (None, None) => parsed.files.push(other.into()),
                },
            }
        }
        Ok(parsed)
    }
}

fn run(arguments: &Arguments) -> Result<(), String> {
    if arguments.version {
        println!("{VERSION}");
        return Ok(());
    }
    let output = arguments.output.as_ref().ok_or("-o is missing: only descriptors are written")?;
    if arguments.files.is_empty() {
        return Err("no proto is named".to_owned());
    }
    let here = [PathBuf::from(".")];
    let includes = if arguments.includes.is_empty() { &here[..] } else { &arguments.includes };
    let mut compiler = Compiler::new(includes).map_err(|error| error.to_string())?;
    compiler.include_imports(arguments.imports).include_source_info(arguments.source_info);
    for file in &arguments.files {
        compiler.open_file(file).map_err(|error| format!("{}: {error:?}", file.display()))?;
    }
    std::fs::write(output, compiler.encode_file_descriptor_set())
        .map_err(|error| format!("write {}: {error}", output.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, String> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn the_flags_of_prost_are_taken_and_others_refused() {
        let parsed = parse("--include_imports --include_source_info -o out -I a -Ib c.proto d.proto").unwrap();
        assert_eq!((parsed.imports, parsed.source_info, parsed.output), (true, true, Some("out".into())));
        assert_eq!(parsed.includes, [PathBuf::from("a"), "b".into()]);
        assert_eq!(parsed.files, [PathBuf::from("c.proto"), "d.proto".into()]);
        assert!(parse("--version").unwrap().version);
        for wrong in ["--rust_out=x", "-o", "-I"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        for nothing in ["a.proto", "-o out"] {
            assert!(run(&parse(nothing).unwrap()).is_err(), "{nothing}");
        }
    }
}
