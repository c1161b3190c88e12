//! What people see of a running fleet: traces, metrics, alerts, dashboards, and the pages that explain them.
//!
//! Owns that these agree with each other and with what hub and agent really show.

mod alerts;
mod bed;
mod collector;
mod dashboards;
mod expressions;
mod files;
mod promtool;
mod reference;
mod tracing;
