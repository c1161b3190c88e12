//! Tests of the sibling module.
