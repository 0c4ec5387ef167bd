use std::{
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::Path,
    process,
};

use crate::record_error::RecordError;

/// Holds a folder against other processes. The operating system lets go when the process ends, however it ends, so that
/// a left-over file never stands in the way.
#[derive(Debug)]
pub(super) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes `<folder>/loupe.lock` and writes the own process number into it.
    pub(super) fn take(folder: &Path) -> Result<Self, RecordError> {
        let path = folder.join("loupe.lock");
        let fail = |source| RecordError::from_io(&path, source);
        let mut file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(RecordError::FolderInUse { folder: folder.to_path_buf(), owner: owner(&file) });
            }
            Err(TryLockError::Error(source)) => return Err(fail(source)),
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(fail)?;
        writeln!(file, "{}", process::id()).map_err(fail)?;
        Ok(Self { _file: file })
    }
}

fn owner(mut file: &File) -> String {
    let mut text = String::new();
    let read = std::io::Read::by_ref(&mut file).take(20).read_to_string(&mut text);
    let is_number = !text.trim().is_empty() && text.trim().bytes().all(|byte| byte.is_ascii_digit());
    if read.is_ok() && is_number { text.trim().to_owned() } else { "unknown".to_owned() }
}
