//! The names of keys in etcd: the configured prefix before each, and which of them are the store's own and never shown.

use crate::store::keys;

/// What comes before each key.
#[derive(Clone, Debug)]
pub(super) struct Names {
    prefix: Vec<u8>,
    /// The process's own key.
    pub(super) writer: Vec<u8>,
    /// The key that says that a large transaction is committed and not carried out yet.
    pub(super) marker: Vec<u8>,
    /// The key that each step of carrying it out writes, by which a watch knows such a step.
    pub(super) applied: Vec<u8>,
}

impl Names {
    pub(super) fn new(prefix: &str, process: &str) -> Self {
        let name = |key: &str| [prefix.as_bytes(), key.as_bytes()].concat();
        Self {
            prefix: prefix.as_bytes().to_vec(),
            writer: name(&format!("{}{process}", keys::WRITERS)),
            marker: name(keys::REDO),
            applied: name(keys::REDO_APPLIED),
        }
    }

    /// Returns the key as etcd has it.
    pub(super) fn outer(&self, key: &[u8]) -> Vec<u8> {
        [&self.prefix, key].concat()
    }

    /// Returns etcd's key as callers know it; `None` for what is not theirs.
    pub(super) fn inner<'a>(&self, outer: &'a [u8]) -> Option<&'a [u8]> {
        outer.strip_prefix(&self.prefix[..]).filter(|key| !is_internal(key))
    }

    /// Returns the folder of the chunks of a large transaction.
    pub(super) fn chunks(&self, id: &str) -> Vec<u8> {
        self.outer(format!("{}{id}/", keys::REDO_CHUNKS).as_bytes())
    }

    /// Returns the key of one chunk; chunks sort as they are numbered.
    pub(super) fn chunk(&self, id: &str, number: usize) -> Vec<u8> {
        self.outer(format!("{}{id}/{number:08}", keys::REDO_CHUNKS).as_bytes())
    }

    /// Returns the key that keeps chunks from being taken for garbage until they are committed; it sorts after them.
    pub(super) fn head(&self, id: &str) -> Vec<u8> {
        self.outer(format!("{}{id}/head", keys::REDO_CHUNKS).as_bytes())
    }

    /// Returns the folder of all chunks.
    pub(super) fn all_chunks(&self) -> Vec<u8> {
        self.outer(keys::REDO_CHUNKS.as_bytes())
    }
}

/// Returns the first key after all keys with a prefix.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // To etcd: up to the last key there is.
    vec![0]
}

fn is_internal(key: &[u8]) -> bool {
    key.starts_with(keys::REDO.as_bytes()) || key.starts_with(keys::WRITERS.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_both_ways_and_our_own_stay_inside() {
        let names = Names::new("/starling/lab/", "hub-0");
        let outer = names.outer(b"starling/v1/era");
        assert_eq!(outer, b"/starling/lab/starling/v1/era");
        assert_eq!(names.inner(&outer), Some(&b"starling/v1/era"[..]));
        assert_eq!(names.inner(b"/starling/other/starling/v1/era"), None);
        for own in [&names.writer, &names.marker, &names.applied, &names.chunk("ab", 3), &names.head("ab")] {
            assert_eq!(names.inner(own), None);
        }
        assert!(names.chunk("ab", 99_999) < names.head("ab"));
        assert!(names.marker < names.all_chunks() && !names.marker.starts_with(&names.all_chunks()));
    }

    #[test]
    fn the_end_of_a_prefix_is_after_all_of_it() {
        assert_eq!(end_of(b"a/"), b"a0");
        assert_eq!(end_of(b"a\xff"), b"b");
        assert_eq!(end_of(b"\xff\xff"), [0]);
    }
}
