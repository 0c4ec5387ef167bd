//! Where files go.

use std::{env, path::PathBuf};

use super::ConfigError;

/// Returns the folder for everything that Loupe writes when no configuration names one: `loupe` below `$XDG_DATA_HOME` or
/// `~/.local/share`. A daemon's configuration names `/var/lib/loupe`.
///
/// # Errors
/// When the environment names no home.
pub fn data_folder() -> Result<PathBuf, ConfigError> {
    // The XDG base directory specification: a relative path is to be ignored.
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let share = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
    share.map(|share| share.join("loupe")).ok_or(ConfigError::NoDataFolder)
}

/// Returns where the enrolled reference of `station` lies below `data_folder`, unless a configuration says otherwise.
pub fn reference_folder(data_folder: &std::path::Path, station: &str) -> PathBuf {
    data_folder.join("stations").join(station)
}
