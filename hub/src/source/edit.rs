//! Edits of YAML text that leave every other document, and its comments, as they are.

use starling_hub_core::resources::{InputKey, Resource};

use super::yaml;

/// Writes a resource as YAML.
#[must_use]
pub fn to_yaml(resource: &Resource) -> String {
    serde_saphyr::to_string(resource).expect("resources have only string keys and finite numbers")
}

/// Returns the file that a resource gets when it has none: `<kind>/<namespace>/<name>.yaml`.
#[must_use]
pub fn own_file(key: &InputKey) -> String {
    key.own_file()
}

/// Puts new text in the place of a document; `None` if it is not there.
pub(super) fn replace(text: &str, key: &InputKey, new: &str) -> Option<String> {
    let (start, end) = place(text, key)?;
    let new = if new.ends_with('\n') { new.to_owned() } else { format!("{new}\n") };
    Some(format!("{}{new}{}", &text[..start], &text[end..]))
}

/// Takes a document out, with one of the separators around it; `None` if it is not there.
pub(super) fn remove(text: &str, key: &InputKey) -> Option<String> {
    let (start, end) = place(text, key)?;
    let (before, after) = (&text[..start], &text[end..]);
    // What follows begins with its separator, which the text before it, if any, still needs only when it has none.
    let after = match after.split_once('\n') {
        Some((separator, rest)) if before.is_empty() || before.ends_with("---\n") => {
            debug_assert!(separator.starts_with("---"), "a document ends at a separator");
            rest
        }
        _ => after,
    };
    let kept = format!("{before}{after}");
    if yaml::chunks(&kept).is_empty() { Some(String::new()) } else { Some(kept.trim_end_matches("---\n").to_owned()) }
}

/// Returns where a document's text begins and ends.
fn place(text: &str, key: &InputKey) -> Option<(usize, usize)> {
    let chunk = yaml::chunks(text)
        .into_iter()
        .find(|chunk| yaml::resource(chunk).is_ok_and(|resource| resource.key() == *key))?;
    let start = chunk.text.as_ptr() as usize - text.as_ptr() as usize;
    Some((start, start + chunk.text.len()))
}
