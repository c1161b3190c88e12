//! Documents of a YAML text, each with its place, so that one that is wrong does not take the others along.

use serde_saphyr::Error;
use starling_hub_core::resources::Resource;

/// One document of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The line of the text that it starts at, from 0.
    pub first_line: usize,
    /// Its text, without the separator line.
    pub text: &'a str,
}

/// What is wrong with a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlError {
    /// The line in the whole text, from 1; zero where none is known.
    pub line: u64,
    /// The column, from 1; zero where none is known.
    pub column: u64,
    /// What is wrong.
    pub message: String,
}

/// Cuts a text at its document separators; a chunk that holds nothing but comments and blanks is left out.
#[must_use]
pub fn chunks(text: &str) -> Vec<Chunk<'_>> {
    let mut chunks = Vec::new();
    let mut start = 0;
    let mut first_line = 0;
    let mut offset = 0;
    for (line_number, line) in text.split_inclusive('\n').enumerate() {
        if is_separator(line) {
            chunks.push(Chunk { first_line, text: &text[start..offset] });
            start = offset + line.len();
            first_line = line_number + 1;
        }
        offset += line.len();
    }
    chunks.push(Chunk { first_line, text: &text[start..] });
    chunks.retain(|chunk| !is_blank(chunk.text));
    chunks
}

/// Reads and checks the resource of a chunk.
///
/// # Errors
/// What is wrong, with its place in the whole text.
pub fn resource(chunk: &Chunk<'_>) -> Result<Resource, YamlError> {
    // An unquoted `y` or `on` among values is text, as in YAML 1.2, and not a truth.
    let options = serde_saphyr::options! { strict_booleans: true };
    let resource: Resource = serde_saphyr::from_str_with_options(chunk.text, options)
        .map_err(|error| located(&error, chunk.first_line as u64))?;
    resource.check().map_err(|error| YamlError {
        line: chunk.first_line as u64 + 1,
        column: 1,
        message: error.to_string(),
    })?;
    Ok(resource)
}

/// Tells whether a line separates documents.
fn is_separator(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.trim().is_empty() || rest.trim_start().starts_with('#'))
}

fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'))
}

fn located(error: &Error, first_line: u64) -> YamlError {
    let bare = error.without_snippet();
    let (line, column) = bare.location().map_or((0, 0), |at| (at.line() + first_line, at.column()));
    let text = bare.to_string();
    // The place is given apart, counted in the whole file.
    let message = text.split(" at line ").next().unwrap_or(&text).lines().next().unwrap_or_default();
    let message = message.strip_prefix("error: ").unwrap_or(message).trim_end_matches([':', ' ']);
    YamlError { line, column, message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORKSPACE: &str = "apiVersion: starling.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: a\nspec: {}\n";

    #[test]
    fn documents_are_cut_with_their_lines() {
        let text = format!("# head\n---\n{WORKSPACE}--- # two\n{WORKSPACE}---\n\n");
        let lines: Vec<usize> = chunks(&text).iter().map(|chunk| chunk.first_line).collect();
        assert_eq!(lines, [2, 8]);
        assert!(chunks(&text).iter().all(|chunk| resource(chunk).is_ok()));
    }

    #[test]
    fn an_error_names_its_line_in_the_whole_text() {
        let text = format!("{WORKSPACE}---\n{}", WORKSPACE.replace("spec: {}", "spec:\n  nameSpace: x"));
        let error = resource(&chunks(&text)[1]).expect_err("an unknown field");
        assert_eq!(error.line, 12, "{error:?}");
        assert!(error.message.contains("nameSpace"), "{error:?}");
    }

    #[test]
    fn a_bare_y_is_text() {
        let text = WORKSPACE.replace("spec: {}", "spec:\n  description: y");
        let Resource::Workspace(workspace) = resource(&chunks(&text)[0]).expect("a workspace") else {
            panic!("not a workspace")
        };
        assert_eq!(workspace.spec.description, "y");
    }

    #[test]
    fn malformed_yaml_is_an_error_with_a_place() {
        let error = resource(&chunks("kind: [unclosed\nmetadata: {}\n")[0]).expect_err("malformed");
        assert!(error.line >= 1, "{error:?}");
    }
}
