//! Conversion between the model and the wire, in one place for every shell.
//!
//! Towards the wire it cannot fail (`From`); from the wire it can (`TryFrom`, [`ConvertError`]): a peer may send anything.

mod session;
mod types;

use starling_model::{Digest, Uid};

/// A field of a message that does not mean anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A field that must be there is not.
    #[error("field {0} is missing")]
    Missing(&'static str),
    /// A field has a value that this build does not understand.
    #[error("field {0} is not valid")]
    Invalid(&'static str),
}

/// Takes a message field that must be there.
pub(crate) fn required<T>(field: Option<T>, name: &'static str) -> Result<T, ConvertError> {
    field.ok_or(ConvertError::Missing(name))
}

/// Reads a digest of 32 bytes.
pub(crate) fn digest(bytes: &[u8], name: &'static str) -> Result<Digest, ConvertError> {
    Digest::from_slice(bytes).map_err(|_| ConvertError::Invalid(name))
}

/// Reads a UID of 16 bytes.
pub(crate) fn uid(bytes: &[u8], name: &'static str) -> Result<Uid, ConvertError> {
    Uid::from_slice(bytes).ok_or(ConvertError::Invalid(name))
}

/// Converts every item, or fails with the first that cannot be.
pub(crate) fn all<W, M: TryFrom<W, Error = ConvertError>>(items: Vec<W>) -> Result<Vec<M>, ConvertError> {
    items.into_iter().map(M::try_from).collect()
}

/// Converts every item.
pub(crate) fn every<M, W: From<M>>(items: Vec<M>) -> Vec<W> {
    items.into_iter().map(W::from).collect()
}

/// Whole milliseconds, saturating.
pub(crate) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// An empty text is no text.
pub(crate) fn text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}
