use std::{fs, path::Path};

use super::HeadError;
use crate::evidence::replace;

/// Checks that a run may write to `folder`: what it `makes` must not be overwritten when it is finished, nor must files that have nothing to do
/// with it; a run of which `progress` tells may go on.
///
/// # Errors
/// When there is something else.
pub(crate) fn check_output(folder: &Path, makes: &str, progress: &str) -> Result<(), HeadError> {
    let in_use = |found: String| HeadError::OutputInUse { path: folder.to_owned(), found };
    if folder.join(makes).exists() {
        return Err(in_use(makes.to_owned()));
    }
    if !folder.exists() || folder.join(progress).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).map_err(HeadError::io(folder))? {
        let name = entry.map_err(HeadError::io(folder))?.file_name();
        // What a kill left of a file that was about to be written is written anew.
        if Path::new(&name).extension().is_none_or(|extension| extension != "draft" && extension != "part") {
            return Err(in_use(name.to_string_lossy().into_owned()));
        }
    }
    Ok(())
}

/// Writes texts to files of these names in `folder`, each with one line feed at its end, and whole or not at all.
///
/// # Errors
/// When one cannot be written; it is named.
pub(crate) fn write_texts<'a>(
    folder: &Path,
    files: impl IntoIterator<Item = (&'a str, String)>,
) -> Result<(), HeadError> {
    for (name, text) in files {
        let path = folder.join(name);
        replace(&path, format!("{}\n", text.trim_end()).as_bytes()).map_err(HeadError::io(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{
        super::{HEAD_FILE, features::JOURNAL},
        *,
    };

    #[test]
    fn writes_only_to_a_folder_of_its_own() {
        let cases: [(&[&str], Option<&str>); 7] = [
            (&[], None),
            (&["head.draft"], None),
            (&["head.json.part"], None),
            (&["described.jsonl", "head.json"], None),
            (&["described.jsonl", "head.safetensors"], Some("head.safetensors")),
            (&["head.safetensors"], Some("head.safetensors")),
            (&["letters.txt"], Some("letters.txt")),
        ];
        for (files, found) in cases {
            let folder = tempfile::tempdir().unwrap();
            for file in files {
                fs::write(folder.path().join(file), "").unwrap();
            }
            let expected = found.map(|found| {
                format!("{}: expected a new or empty folder to write to, found {found}", folder.path().display())
            });
            assert_eq!(
                check_output(folder.path(), HEAD_FILE, JOURNAL).err().map(|error| error.to_string()),
                expected,
                "{files:?}"
            );
        }
        assert!(check_output(Path::new("not/there/yet"), HEAD_FILE, JOURNAL).is_ok());
    }
}
