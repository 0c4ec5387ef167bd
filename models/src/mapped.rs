use std::{fs::File, io, path::Path};

use memmap2::Mmap;

/// Returns the bytes of a file, mapped into memory for reading.
///
/// # Errors
/// When the file cannot be opened or mapped.
#[expect(unsafe_code, reason = "mapping keeps 98 MB of weights out of the heap and shares them between processes")]
pub(crate) fn map_file(path: &Path) -> io::Result<Mmap> {
    let file = File::open(path)?;
    // SAFETY: the map is only read, and model files are written once under another name and renamed into place (never
    // changed in place), so the bytes under the map do not change while it lives.
    unsafe { Mmap::map(&file) }
}
