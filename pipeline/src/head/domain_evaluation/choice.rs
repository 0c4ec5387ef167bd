use std::{collections::BTreeSet, path::Path};

use models::{Scope, domain::Domain};

use super::TakenFor;
use crate::head::{ClassLayout, HeadError};

/// Returns the first of the domains called `names` one of whose data sets has all the class folders that would be measured of `dataset`.
///
/// # Errors
/// When none has, or a folder or a domain cannot be read.
pub(crate) fn domain_for(dataset: &Path, names: &[&'static str]) -> Result<&'static str, HeadError> {
    let (_, pictures, _) = ClassLayout::Folders.read_strictest(dataset, Scope::Picture)?;
    let classes: BTreeSet<&str> = pictures.iter().map(|picture| picture.class.as_str()).collect();
    for name in names {
        if TakenFor::of(&classes, Domain::find(name)?.labels()).is_some() {
            return Ok(name);
        }
    }
    let expected = format!("the classes of one data set of a domain in the binary ({})", names.join(", "));
    Err(HeadError::unfit(dataset, expected, classes.into_iter().collect::<Vec<_>>().join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn class_folders_choose_the_domain_that_knows_them() {
        let names: Vec<&str> = Domain::embedded().collect();
        for name in &names {
            let domain = Domain::find(name).unwrap();
            let task = &domain.labels()[0].task;
            let root = tempfile::tempdir().unwrap();
            for label in domain.labels().iter().filter(|label| label.task == *task) {
                let folder = root.path().join("test").join(&label.id);
                std::fs::create_dir_all(&folder).unwrap();
                std::fs::write(folder.join("0.png"), "").unwrap();
            }
            assert_eq!(domain_for(root.path(), &names).unwrap(), *name);
            // What only the training part has is not measured.
            std::fs::create_dir_all(root.path().join("train/porcelain")).unwrap();
            std::fs::write(root.path().join("train/porcelain/0.png"), "").unwrap();
            assert_eq!(domain_for(root.path(), &names).unwrap(), *name);
            std::fs::create_dir_all(root.path().join("test/porcelain")).unwrap();
            std::fs::write(root.path().join("test/porcelain/0.png"), "").unwrap();
            let error = domain_for(root.path(), &names).unwrap_err().to_string();
            assert!(
                error.contains(
                    "expected the classes of one data set of a domain in the binary (crops, factory), found "
                )
            );
            assert!(error.contains("porcelain"), "{error}");
        }
    }
}
