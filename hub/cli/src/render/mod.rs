//! How things look: ages, colours, tables, and JSON and YAML documents.

pub(crate) mod age;
pub(crate) mod document;
pub(crate) mod paint;
pub(crate) mod table;
