use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::{Path, PathBuf},
};

use cameras::Rect;

use super::{Dataset, Problem, ProblemKind, Sample, contents, files_below, is_picture, name_of, stem_of};
use crate::eval::{EvalError, metrics::Truth};

/// Identifiers in the knowledge base, by DeepPCB's type number.
const TYPES: [(u32, &str); 6] = [
    (1, "pcb_open"),
    (2, "pcb_short"),
    (3, "pcb_mousebite"),
    (4, "pcb_spur"),
    (5, "pcb_spurious_copper"),
    (6, "pcb_pinhole"),
];

/// What the name of a board's folder has at its end where its labels are in a folder of their own.
const LABELS_APART: &str = "_not";

/// The parts of a data set that may be judged by, best first.
const PARTS: [&str; 3] = ["test", "val", "train"];

pub(super) fn open(root: &Path) -> Result<Dataset, EvalError> {
    let part = PARTS.iter().map(|part| root.join(part)).find(|folder| folder.is_dir());
    read(part.as_deref().unwrap_or(root))
}

/// Returns every part of the data set in `root` with its name, `train`, `val` or `test`; the whole without a name where there are none.
///
/// # Errors
/// As [`Dataset::open`].
pub(crate) fn parts(root: &Path) -> Result<Vec<(&'static str, Dataset)>, EvalError> {
    let folders = PARTS.iter().map(|part| (*part, root.join(part))).filter(|(_, folder)| folder.is_dir());
    let parts: Vec<_> = folders.map(|(part, folder)| Ok((part, read(&folder)?))).collect::<Result<_, EvalError>>()?;
    if parts.is_empty() { Ok(vec![("", read(root)?)]) } else { Ok(parts) }
}

/// DeepPCB itself keeps a folder for each board.
fn read(folder: &Path) -> Result<Dataset, EvalError> {
    let mut dataset = Dataset::default();
    let files = files_below(folder)?;
    let images = || files.iter().filter(|path| is_picture(path) && stem_of(path).ends_with("_test"));
    for image in images() {
        add_pair(image.clone(), &mut dataset)?;
    }
    let there = images().filter_map(|image| pair_of(image)).collect();
    for missing in missing_images(&files, &there) {
        incomplete(&mut dataset, &missing, "picture");
    }
    if dataset.samples.is_empty() {
        return Err(EvalError::WrongLayout {
            path: folder.to_owned(),
            expected: "pairs ID_test.jpg and ID_temp.jpg with ID.txt (layout deeppcb)".to_owned(),
            found: contents(folder)?,
        });
    }
    Ok(dataset)
}

/// The folder of a board and the part of a file's name that a pair has in common.
type Pair = (PathBuf, String);

/// The pair that a file belongs to by its name alone.
fn pair_of(file: &Path) -> Option<Pair> {
    let (folder, stem) = (file.parent()?, stem_of(file));
    let board = name_of(folder).strip_suffix(LABELS_APART).map(|board| folder.with_file_name(board));
    let of_picture = || stem.strip_suffix("_test").or_else(|| stem.strip_suffix("_temp"));
    let id = if is_picture(file) { of_picture()? } else { &stem };
    Some((board.unwrap_or_else(|| folder.to_owned()), id.to_owned()))
}

/// Where the pictures should be of which a template or a file of labels is left.
fn missing_images(files: &[PathBuf], there: &HashSet<Pair>) -> BTreeSet<PathBuf> {
    let mut missing = BTreeMap::new();
    for file in files {
        let Some(pair) = pair_of(file).filter(|pair| !there.contains(pair)) else { continue };
        if is_picture(file) {
            missing.insert(pair, file.with_file_name(name_of(file).replace("_temp.", "_test.")));
        } else if has_labels(file) {
            let image = pair.0.join(format!("{}_test.jpg", pair.1));
            missing.entry(pair).or_insert(image);
        }
    }
    missing.into_values().collect()
}

/// Other texts may lie beside the pairs; an empty one says that there is no defect.
fn has_labels(file: &Path) -> bool {
    let is_text = file.extension().is_some_and(|extension| extension == "txt");
    is_text
        && fs::read_to_string(file).is_ok_and(|text| text.trim().is_empty() || !parse_labels(&text, file).0.is_empty())
}

fn add_pair(image: PathBuf, dataset: &mut Dataset) -> Result<(), EvalError> {
    let id = stem_of(&image).trim_end_matches("_test").to_owned();
    let template = image.with_file_name(name_of(&image).replace("_test.", "_temp."));
    let Some(labels) = labels_of(&image, &id) else {
        incomplete(dataset, &image.with_file_name(format!("{id}.txt")), "labels");
        return Ok(());
    };
    if !template.is_file() {
        incomplete(dataset, &template, "template");
        return Ok(());
    }
    let text = fs::read_to_string(&labels).map_err(|source| EvalError::Io { path: labels.clone(), source })?;
    let (truths, problems) = parse_labels(&text, &labels);
    let (is_defect, is_doubtful) = (!truths.is_empty(), !problems.is_empty());
    dataset.problems.extend(problems);
    let sample = Sample::of_class(image, "pair");
    dataset.samples.push(Sample { is_defect, is_doubtful, template: Some(template), truths, ..sample });
    Ok(())
}

fn incomplete(dataset: &mut Dataset, missing: &Path, what: &str) {
    let message = format!("{}: expected the {what} of a pair, found none", missing.display());
    dataset.problems.push(Problem::new(ProblemKind::IncompletePair, message));
}

/// Beside the image, or in the folder `<board>_not` where DeepPCB itself keeps them.
fn labels_of(image: &Path, id: &str) -> Option<PathBuf> {
    let beside = image.with_file_name(format!("{id}.txt"));
    let folder = image.parent()?;
    let apart = folder.with_file_name(format!("{}{LABELS_APART}", name_of(folder))).join(format!("{id}.txt"));
    [beside, apart].into_iter().find(|path| path.is_file())
}

fn parse_labels(text: &str, file: &Path) -> (Vec<Truth>, Vec<Problem>) {
    let (mut truths, mut problems) = (Vec::new(), Vec::new());
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        match parse_line(line) {
            Some(truth) => truths.push(truth),
            None => problems.push(Problem::new(
                ProblemKind::BadLabel,
                format!(
                    "{}, line {number}: expected `x1 y1 x2 y2 type` with x1 < x2, y1 < y2 and type 1 to 6, found `{}`",
                    file.display(),
                    line.trim()
                ),
            )),
        }
    }
    (truths, problems)
}

fn parse_line(line: &str) -> Option<Truth> {
    let numbers: Vec<u32> = line
        .split([' ', ',', '\t'])
        .filter(|word| !word.is_empty())
        .map(|word| word.trim().parse().ok())
        .collect::<Option<_>>()?;
    let [x1, y1, x2, y2, kind] = numbers[..] else { return None };
    let (_, class) = TYPES.iter().find(|(number, _)| *number == kind)?;
    let rect = Rect { x: x1, y: y1, width: x2.checked_sub(x1)?, height: y2.checked_sub(y1)? };
    (rect.area_px() > 0).then(|| Truth { rect, class: (*class).to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_parse_or_say_why_not() {
        let (truths, problems) =
            parse_labels("1 2 11 22 3\n\n5,6,9,9,1\n1 2 3\n9 9 1 1 2\n1 1 2 2 7\na b c d e\n", Path::new("x.txt"));
        let truth =
            |x, y, width, height, class: &str| Truth { rect: Rect { x, y, width, height }, class: class.to_owned() };
        assert_eq!(truths, [truth(1, 2, 10, 20, "pcb_mousebite"), truth(5, 6, 4, 3, "pcb_open")]);
        let lines: Vec<&str> = problems.iter().map(|problem| problem.message.as_str()).collect();
        assert_eq!(lines.len(), 4);
        assert_eq!(
            lines[0],
            "x.txt, line 4: expected `x1 y1 x2 y2 type` with x1 < x2, y1 < y2 and type 1 to 6, found `1 2 3`"
        );
    }
}
