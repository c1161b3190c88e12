//! Canonical bytes: the one byte form of a [`Value`] that digests are computed over.
//!
//! Format version 1. Each value is a tag byte and its content; lengths are 32-bit, numbers 64-bit, both
//! little-endian: `n`, `t`, `f`, `i` (two's complement), `u`, `d` (IEEE 754 bits), `s` (length, UTF-8),
//! `l` (count, items), `m` (count, then key and value pairs with keys in byte order).

use crate::digest::{Digest, DigestWriter};
use crate::value::Value;

/// Returns the digest of a value in a domain.
#[must_use]
pub fn digest_value(domain: &str, value: &Value) -> Digest {
    let mut writer = DigestWriter::new(domain);
    writer.field(&canonical_bytes(value));
    writer.finish()
}

/// Returns the canonical bytes of a value.
#[must_use]
pub fn canonical_bytes(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(256);
    write(value, &mut bytes);
    bytes
}

fn write(value: &Value, bytes: &mut Vec<u8>) {
    match value {
        Value::Null => bytes.push(b'n'),
        Value::Bool(true) => bytes.push(b't'),
        Value::Bool(false) => bytes.push(b'f'),
        Value::Int(number) => {
            bytes.push(b'i');
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        Value::Uint(number) => {
            bytes.push(b'u');
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        Value::Float(number) => {
            bytes.push(b'd');
            bytes.extend_from_slice(&number.get().to_bits().to_le_bytes());
        }
        Value::String(text) => {
            bytes.push(b's');
            write_text(text, bytes);
        }
        Value::List(items) => {
            bytes.push(b'l');
            write_length(items.len(), bytes);
            for item in items {
                write(item, bytes);
            }
        }
        Value::Map(map) => {
            bytes.push(b'm');
            write_length(map.len(), bytes);
            for (key, value) in map {
                write_text(key, bytes);
                write(value, bytes);
            }
        }
    }
}

fn write_text(text: &str, bytes: &mut Vec<u8>) {
    write_length(text.len(), bytes);
    bytes.extend_from_slice(text.as_bytes());
}

fn write_length(length: usize, bytes: &mut Vec<u8>) {
    let length = u32::try_from(length).expect("documents are limited to far less than 4 GiB");
    bytes.extend_from_slice(&length.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::value::Float;

    #[test]
    fn golden_bytes() {
        let value = Value::map([("b", Value::List(vec![Value::Null, Value::Int(-1)])), ("a", Value::from("x"))]);
        let expected = b"m\x02\0\0\0\x01\0\0\0as\x01\0\0\0x\x01\0\0\0bl\x02\0\0\0ni\xff\xff\xff\xff\xff\xff\xff\xff";
        assert_eq!(canonical_bytes(&value), expected);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter_map("finite", |number| Float::new(number).map(Value::Float)),
            ".{0,8}".prop_map(Value::String),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
                prop::collection::btree_map(".{0,4}", inner, 0..4).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn equal_values_have_equal_bytes_and_others_differ(a in any_value(), b in any_value()) {
            prop_assert_eq!(canonical_bytes(&a) == canonical_bytes(&b), a == b);
        }
    }
}
