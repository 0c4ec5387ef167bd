//! A graph on disk: built once for the weights it is made of, sealed with checksums, rebuilt when damaged.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{ModelError, mapped};

const MODEL: &str = "model.onnx";
/// Constants of the graph, beside the model.
pub(crate) const WEIGHTS: &str = "weights.bin";
const SEAL: &str = "seal";

/// Returns the graph file in `folder`, after calling `build` to write the model (its argument) and [`WEIGHTS`] beside it
/// where `folder` has no intact graph. Another process sees either a whole folder or none.
pub(crate) fn ensure(
    folder: &Path,
    build: impl FnOnce(&Path) -> Result<(), ModelError>,
) -> Result<PathBuf, ModelError> {
    if !is_intact(folder) {
        let draft = draft_of(folder);
        let made = make(&draft, build).and_then(|()| publish(&draft, folder));
        if made.is_err() {
            // What failed is reported below; a draft that stays behind is only clutter.
            drop(fs::remove_dir_all(&draft));
        }
        made?;
    }
    Ok(folder.join(MODEL))
}

fn draft_of(folder: &Path) -> PathBuf {
    static DRAFTS: AtomicU32 = AtomicU32::new(0);
    let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    folder.with_file_name(format!(".{name}.{}-{number}", process::id()))
}

fn make(draft: &Path, build: impl FnOnce(&Path) -> Result<(), ModelError>) -> Result<(), ModelError> {
    fs::create_dir_all(draft).map_err(|source| ModelError::Io { path: draft.to_owned(), source })?;
    build(&draft.join(MODEL))?;
    let path = draft.join(SEAL);
    let written = seal(draft).and_then(|text| fs::write(&path, text));
    written.map_err(|source| ModelError::Io { path, source })
}

fn publish(draft: &Path, folder: &Path) -> Result<(), ModelError> {
    let failed = |source| ModelError::Io { path: folder.to_owned(), source };
    if fs::rename(draft, folder).is_ok() {
        return Ok(());
    }
    // Something is in the way: the work of a process that was faster, or a damaged folder.
    if is_intact(folder) {
        return fs::remove_dir_all(draft).map_err(failed);
    }
    fs::remove_dir_all(folder).map_err(failed)?;
    fs::rename(draft, folder).map_err(failed)
}

fn is_intact(folder: &Path) -> bool {
    let stored = fs::read_to_string(folder.join(SEAL));
    stored.is_ok_and(|stored| seal(folder).is_ok_and(|actual| actual == stored))
}

/// Returns the length and checksum of both files.
fn seal(folder: &Path) -> io::Result<String> {
    let mut lines = Vec::new();
    for name in [MODEL, WEIGHTS] {
        let map = mapped::map_file(&folder.join(name))?;
        lines.push(format!("{name} {} {:016x}\n", map.len(), checksum(&map)));
    }
    Ok(lines.concat())
}

/// Returns a 64-bit checksum that finds accidental damage. It keeps up with memory (four independent lanes), which
/// SHA-256 does not without special instructions; the model file itself is verified by SHA-256 when it is pulled.
fn checksum(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x9e37_79b1_85eb_ca87;
    let mix = |lane: u64, word: u64| (lane ^ word).wrapping_mul(PRIME).rotate_left(29);
    let mut lanes = [1_u64, 2, 3, 4];
    let (words, rest) = bytes.as_chunks::<8>();
    let (groups, last) = words.as_chunks::<4>();
    for group in groups {
        for (lane, word) in lanes.iter_mut().zip(group) {
            *lane = mix(*lane, u64::from_le_bytes(*word));
        }
    }
    let tail = last.iter().map(|word| u64::from_le_bytes(*word)).chain(rest.iter().map(|&byte| u64::from(byte)));
    tail.chain(lanes).fold(bytes.len() as u64, mix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn build(builds: &Cell<u32>) -> impl FnOnce(&Path) -> Result<(), ModelError> + '_ {
        move |model| {
            builds.set(builds.get() + 1);
            fs::write(model, "graph").unwrap();
            fs::write(model.with_file_name(WEIGHTS), [7_u8; 1000]).unwrap();
            Ok(())
        }
    }

    #[test]
    fn builds_once_and_again_when_damaged() {
        let (parent, builds) = (tempfile::tempdir().unwrap(), Cell::new(0));
        let folder = parent.path().join("decoder");
        let model = ensure(&folder, build(&builds)).unwrap();
        ensure(&folder, build(&builds)).unwrap();
        assert_eq!(builds.get(), 1);
        let damages: [(&str, &[u8]); 3] = [(WEIGHTS, &[7; 999]), (WEIGHTS, &[8; 1000]), (SEAL, b"")];
        for (round, (name, content)) in damages.into_iter().enumerate() {
            fs::write(folder.join(name), content).unwrap();
            ensure(&folder, build(&builds)).unwrap();
            assert_eq!(builds.get(), round as u32 + 2, "{name}");
        }
        fs::remove_file(model).unwrap();
        ensure(&folder, build(&builds)).unwrap();
        assert_eq!(builds.get(), 5);
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }

    #[test]
    fn leaves_nothing_behind_when_building_fails() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("decoder");
        let failed = ensure(&folder, |model| {
            fs::write(model, "half").unwrap();
            Err(ModelError::Io { path: model.to_owned(), source: io::Error::other("disk full") })
        });
        assert!(failed.is_err());
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
    }

    #[test]
    fn notices_one_changed_bit_anywhere() {
        let whole: Vec<u8> = (0..100).collect();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 16;
            assert_ne!(checksum(&changed), checksum(&whole), "byte {at}");
        }
    }
}
