//! The program itself, asking a hub that answers from a script: output, exit codes, errors.

mod changing;
mod edits;
mod kubeconfig;
mod looking;
mod reaching;
mod shards;
mod support;
mod tokens;
