//! What hub and agent share of traces, and of the process's own metrics.
//!
//! Owns exporting spans over OTLP (bounded, drops counted, off unless somebody asks for it), the text in which the context
//! of a trace travels between processes, and the figures that every process has. Does not own which spans there are:
//! whoever does the work opens them, with the target [`TRACE`].

pub mod context;
pub mod export;
pub mod histogram;
pub mod process;

/// The target of every span that is exported; without an exporter these are disabled and cost next to nothing.
pub const TRACE: &str = "starling_trace";
