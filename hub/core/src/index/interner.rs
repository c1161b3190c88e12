//! Texts kept once, with a count of their users, so that memory follows what is in use as texts come and go.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// A text of an [`Interner`]; valid for as long as its holder counts as a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Symbol(u32);

/// The texts in use.
///
/// Texts are found by a cheap hash first and by their bytes second, in a tree: texts that an agent chose so that
/// their hashes collide cost a logarithm, not a list.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_text: BTreeMap<(u64, Arc<str>), Symbol>,
    bytes: usize,
}

#[derive(Debug)]
struct Slot {
    text: Arc<str>,
    users: u32,
}

impl Interner {
    /// Returns the symbol of a text and counts one user more.
    pub(crate) fn acquire(&mut self, text: &str) -> Symbol {
        if let Some(symbol) = self.find(text) {
            self.slots[symbol.0 as usize].users += 1;
            return symbol;
        }
        let text: Arc<str> = text.into();
        self.bytes += text.len();
        let key = (hash(&text), Arc::clone(&text));
        let slot = Slot { text, users: 1 };
        let symbol = if let Some(index) = self.free.pop() {
            self.slots[index as usize] = slot;
            Symbol(index)
        } else {
            let index = u32::try_from(self.slots.len()).expect("four billion texts do not fit into memory");
            self.slots.push(slot);
            Symbol(index)
        };
        self.by_text.insert(key, symbol);
        symbol
    }

    /// Counts one user less, and forgets the text with its last user.
    pub(crate) fn release(&mut self, symbol: Symbol) {
        let slot = &mut self.slots[symbol.0 as usize];
        slot.users -= 1;
        if slot.users > 0 {
            return;
        }
        let text = std::mem::take(&mut slot.text);
        self.bytes -= text.len();
        self.by_text.remove(&(hash(&text), text));
        self.free.push(symbol.0);
    }

    /// Lets `symbol` stand for `text`, exchanging users where the text is another one.
    pub(crate) fn replace(&mut self, symbol: &mut Symbol, text: &str) {
        if self.text(*symbol) != text {
            let new = self.acquire(text);
            self.release(*symbol);
            *symbol = new;
        }
    }

    /// Returns the symbol of a text that is in use.
    pub(crate) fn find(&self, text: &str) -> Option<Symbol> {
        let hash = hash(text);
        let mut colliding =
            self.by_text.range::<(u64, Arc<str>), _>((Bound::Included(&(hash, Arc::default())), Bound::Unbounded));
        let (key, symbol) = colliding.next()?;
        if key.0 == hash && *key.1 == *text {
            return Some(*symbol);
        }
        // The first text with this hash is another one: look for the exact pair.
        (key.0 == hash).then(|| self.by_text.get(&(hash, Arc::from(text))).copied()).flatten()
    }

    /// Returns a symbol's text.
    pub(crate) fn text(&self, symbol: Symbol) -> &str {
        &self.slots[symbol.0 as usize].text
    }

    /// Returns how many texts are in use.
    pub(crate) fn len(&self) -> usize {
        self.by_text.len()
    }

    /// Returns the bytes of all texts in use.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Mixes eight bytes at a time (multiply and fold); only for finding, so that its value is free to change.
fn hash(text: &str) -> u64 {
    const MULTIPLIER: u128 = 0x9e37_79b9_7f4a_7c15;
    let fold = |state: u64, word: u64| {
        let product = u128::from(state ^ word) * MULTIPLIER;
        (product as u64) ^ ((product >> 64) as u64)
    };
    let mut words = text.as_bytes().chunks_exact(8);
    let mut state = fold(text.len() as u64, MULTIPLIER as u64);
    for word in &mut words {
        state = fold(state, u64::from_le_bytes(word.try_into().expect("a chunk has eight bytes")));
    }
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    fold(state, u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_lives_as_long_as_its_last_user() {
        let mut interner = Interner::default();
        let first = interner.acquire("ready");
        assert_eq!(interner.acquire("ready"), first);
        assert_eq!((interner.len(), interner.bytes()), (1, 5));
        interner.release(first);
        assert_eq!(interner.find("ready"), Some(first));
        interner.release(first);
        assert_eq!((interner.find("ready"), interner.len(), interner.bytes()), (None, 0, 0));
    }

    #[test]
    fn freed_slots_are_used_again() {
        let mut interner = Interner::default();
        for round in 0..1000 {
            let symbol = interner.acquire(&format!("message {round}"));
            assert_eq!(interner.text(symbol), format!("message {round}"));
            interner.release(symbol);
        }
        assert_eq!(interner.slots.len(), 1);
    }

    #[test]
    fn replacing_exchanges_users() {
        let mut interner = Interner::default();
        let mut symbol = interner.acquire("");
        interner.replace(&mut symbol, "x");
        assert_eq!((interner.text(symbol), interner.find("")), ("x", None));
        interner.replace(&mut symbol, "x");
        interner.release(symbol);
        assert_eq!(interner.len(), 0);
    }

    #[test]
    fn the_empty_text_is_found_among_others() {
        let mut interner = Interner::default();
        let symbols: Vec<_> = ["", "a", "aaaaaaaa", "aaaaaaaab", "b"].map(|text| interner.acquire(text)).into();
        for (symbol, text) in symbols.iter().zip(["", "a", "aaaaaaaa", "aaaaaaaab", "b"]) {
            assert_eq!(interner.find(text), Some(*symbol));
        }
    }
}
