//! The room of the state directory, and the size of the store in it.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::fs::statvfs;

/// Looks at the state directory when it is asked.
#[derive(Debug)]
pub struct DiskCollector {
    /// The state directory.
    pub state: PathBuf,
    /// The store's file.
    pub store: PathBuf,
}

impl Collector for DiskCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (size, available) = statvfs(&self.state).map_or((0, 0), |disk| {
            (disk.f_frsize.saturating_mul(disk.f_blocks), disk.f_frsize.saturating_mul(disk.f_bavail))
        });
        let store = fs::metadata(&self.store).map_or(0, |file| file.len());
        for (name, help, value) in [
            ("state_disk_size", "Size of the file system of the state directory", size),
            ("state_disk_available", "Room that is left in the file system of the state directory", available),
            ("store_size", "Size of the store's file", store),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, Some(&Unit::Bytes), gauge.metric_type())?)?;
        }
        Ok(())
    }
}
