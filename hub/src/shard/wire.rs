//! Renders in their wire form, made once and shared by all messages that carry them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use starling_model::Digest;
use starling_model::plan::Render;
use starling_proto::v1;

/// Renders that are kept; a change of one addon needs one at a time.
const KEPT: usize = 256;

/// Wire forms by digest; their documents are shared, so that a copy is cheap.
#[derive(Debug, Default)]
pub(crate) struct WireRenders(Mutex<BTreeMap<Digest, v1::Render>>);

impl WireRenders {
    /// Returns the wire form of a render.
    pub(crate) fn get(&self, render: &Render) -> v1::Render {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(wire) = kept.get(&render.digest) {
            return wire.clone();
        }
        if kept.len() >= KEPT {
            // Made anew as they are needed, which is cheaper than knowing which one is old.
            kept.clear();
        }
        let wire = v1::Render::from(render);
        kept.insert(render.digest, wire.clone());
        wire
    }
}
