//! JSON and YAML for scripts: one stable shape for lists, and single documents.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::terminal::Output;

/// The version of every document that this program prints.
pub(crate) const API_VERSION: &str = "starling.dev/v1alpha1";

/// JSON or YAML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notation {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// A list that is written item by item, so that no page has to wait for the last.
pub(crate) struct ListWriter {
    notation: Notation,
    items: u64,
}

/// A single document with its version and kind before its own fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a, T> {
    api_version: &'static str,
    kind: &'a str,
    #[serde(flatten)]
    body: &'a T,
}

impl ListWriter {
    /// Begins a list of items of a kind.
    pub(crate) fn begin(output: &mut Output, notation: Notation, kind: &str) -> Result<Self, Failure> {
        match notation {
            Notation::Json => output.raw(&format!(
                "{{\n  \"apiVersion\": \"{API_VERSION}\",\n  \"kind\": \"{kind}List\",\n  \"items\": ["
            ))?,
            Notation::Yaml => output.raw(&format!("apiVersion: {API_VERSION}\nkind: {kind}List\nitems:"))?,
        }
        Ok(Self { notation, items: 0 })
    }

    /// Writes one item.
    pub(crate) fn item<T: Serialize>(&mut self, output: &mut Output, item: &T) -> Result<(), Failure> {
        match self.notation {
            Notation::Json => {
                let text = serde_json::to_string_pretty(item).map_err(|error| cannot_print(&error))?;
                let comma = if self.items == 0 { "" } else { "," };
                output.raw(&format!("{comma}\n    {}", text.replace('\n', "\n    ")))?;
            }
            Notation::Yaml => {
                let text = serde_saphyr::to_string(&[item]).map_err(|error| cannot_print(&error))?;
                let newline = if self.items == 0 { "\n" } else { "" };
                output.raw(&format!("{newline}{}\n", text.trim_end()))?;
            }
        }
        self.items += 1;
        Ok(())
    }

    /// Ends the list.
    pub(crate) fn end(self, output: &mut Output) -> Result<(), Failure> {
        self.end_with(output, &BTreeMap::<&str, ()>::new())
    }

    /// Ends the list with the fields of what is said of it as a whole; a field that is left out is not written.
    pub(crate) fn end_with<T: Serialize>(self, output: &mut Output, whole: &T) -> Result<(), Failure> {
        let whole = serde_json::to_value(whole).map_err(|error| cannot_print(&error))?;
        let fields = whole.as_object().filter(|fields| !fields.is_empty());
        match (self.notation, self.items) {
            (Notation::Json, 0) => output.raw("]")?,
            (Notation::Json, _) => output.raw("\n  ]")?,
            (Notation::Yaml, 0) => output.raw(" []\n")?,
            (Notation::Yaml, _) => {}
        }
        match self.notation {
            Notation::Json => {
                for (name, value) in fields.into_iter().flatten() {
                    let text = serde_json::to_string_pretty(value).map_err(|error| cannot_print(&error))?;
                    output.raw(&format!(",\n  \"{name}\": {}", text.replace('\n', "\n  ")))?;
                }
                output.raw("\n}\n")
            }
            Notation::Yaml => fields.map_or(Ok(()), |fields| {
                let text = serde_saphyr::to_string(fields).map_err(|error| cannot_print(&error))?;
                output.raw(&format!("{}\n", text.trim_end()))
            }),
        }
    }
}

/// Prints one document of a kind.
pub(crate) fn print<T: Serialize>(
    output: &mut Output,
    notation: Notation,
    kind: &str,
    body: &T,
) -> Result<(), Failure> {
    let document = Document { api_version: API_VERSION, kind, body };
    match notation {
        Notation::Json => output.line(serde_json::to_string_pretty(&document).map_err(|error| cannot_print(&error))?),
        Notation::Yaml => {
            output.line(serde_saphyr::to_string(&document).map_err(|error| cannot_print(&error))?.trim_end())
        }
    }
}

/// Returns a document on one line of JSON.
pub(crate) fn json_line<T: Serialize>(document: &T) -> Result<String, Failure> {
    serde_json::to_string(document).map_err(|error| cannot_print(&error))
}

fn cannot_print(error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot print the document: {error}"))
}
