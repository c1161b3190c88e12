//! Backups of a whole cluster: copies of its members' folders, made and put back while no member runs.

use std::fs;
use std::path::{Path, PathBuf};

use super::EtcdCluster;
use crate::error::{IoContext as _, Result, create_folder};

/// The cluster's data as it was once.
#[derive(Debug, Clone)]
pub struct EtcdBackup {
    folder: PathBuf,
}

impl EtcdCluster {
    /// Copies the cluster's data into an own folder of a name; it serves nobody for about two seconds meanwhile.
    pub fn backup(&self, name: &str) -> Result<EtcdBackup> {
        let folder = self.folder.join("backups").join(name);
        self.kill_all()?;
        for (index, member) in self.members.iter().enumerate() {
            copy_folder(&member.data(), &folder.join(index.to_string()))?;
        }
        self.restart_all()?;
        Ok(EtcdBackup { folder })
    }

    /// Puts a backup in the place of the cluster's data, as an administrator would after a loss, and starts all members.
    pub fn restore(&self, backup: &EtcdBackup) -> Result<()> {
        self.kill_all()?;
        for (index, member) in self.members.iter().enumerate() {
            let data = member.data();
            fs::remove_dir_all(&data).at_path("remove", &data)?;
            copy_folder(&backup.folder.join(index.to_string()), &data)?;
        }
        self.restart_all()
    }
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    create_folder(to)?;
    for entry in fs::read_dir(from).at_path("list", from)? {
        let entry = entry.at_path("list", from)?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            fs::copy(&source, &target).at_path("copy", &source)?;
        }
    }
    Ok(())
}
