//! The demo's own trained eyes: they learn what defects are called from boards that it draws and labels.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use cameras::{DefectKind, Rect, SyntheticLine};
use models::{bundle::DEFAULT_BUNDLE, head::Head, ort_engine::SessionConfig};
use serde_json::{Value, json};

use crate::{
    cli::progress,
    evidence::replace,
    head::{ClassLayout, HEAD_FILE, HeadPlan, RESOLUTION_PX, train},
    kit::Kit,
};

/// Labelled boards with a defect of each kind.
pub(super) const BOARDS_A_KIND: u64 = 12;
const LABELS_FILE: &str = "labels.json";

/// Labelled boards, and the head that learned from them.
#[derive(Debug)]
pub(super) struct Learned {
    /// Boards and labels, in COCO's layout.
    pub(super) data: PathBuf,
    /// Folder of the head.
    pub(super) head: PathBuf,
}

/// Draws labelled boards into `folder` and learns from them. The same seed gives the same, so that a whole head that is there is taken.
///
/// # Errors
/// When a file cannot be written or a model file is damaged.
pub(super) fn learned(folder: &Path, seed: u64) -> anyhow::Result<Learned> {
    let (data, output) = (folder.join(format!("labelled-{seed}")), folder.join(format!("eyes-{seed}")));
    let file = output.join(HEAD_FILE);
    if Head::open(&file).is_ok() {
        return Ok(Learned { data, head: output });
    }
    if file.exists() {
        fs::remove_file(&file).with_context(|| file.display().to_string())?;
    }
    // Another seed: no board that is inspected is learned from.
    draw(&SyntheticLine::new(!seed, 0.0), &data)?;
    let plan = HeadPlan {
        data: data.clone(),
        layout: ClassLayout::Coco,
        validation: None,
        output: output.clone(),
        resolution_px: RESOLUTION_PX,
        seed,
        licence: "drawn by Loupe".to_owned(),
    };
    let bar = progress::bar(0, "learning what defects are called");
    let mut kit = Kit::new(DEFAULT_BUNDLE, SessionConfig::default())?;
    train(&plan, kit.encoder(plan.resolution_px)?, &mut progress::counting(&bar))?;
    bar.finish_and_clear();
    Ok(Learned { data, head: output })
}

/// Writes boards with their labels, in COCO's layout.
fn draw(line: &SyntheticLine, folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let categories: Vec<(u64, DefectKind)> = (1..).zip(DefectKind::ALL).collect();
    let kinds = (0..BOARDS_A_KIND).flat_map(|_| &categories);
    let bar = progress::bar(BOARDS_A_KIND * DefectKind::ALL.len() as u64, "drawing labelled boards");
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    for (id, &(category, kind)) in (1..).zip(kinds) {
        let sample = line.with_defect(id, kind);
        let name = format!("board-{id:03}.png");
        sample.picture.save(folder.join(&name)).with_context(|| folder.join(&name).display().to_string())?;
        images.push(
            json!({"id": id, "file_name": name, "width": sample.picture.width(), "height": sample.picture.height()}),
        );
        annotations.extend(sample.truth.map(|truth| annotation((id, category), truth.rect_in_frame)));
        bar.inc(1);
    }
    bar.finish_and_clear();
    let categories: Vec<Value> = categories.iter().map(|(id, kind)| json!({"id": id, "name": kind.code()})).collect();
    let labels = json!({"images": images, "annotations": annotations, "categories": categories});
    let path = folder.join(LABELS_FILE);
    replace(&path, labels.to_string().as_bytes()).with_context(|| path.display().to_string())
}

/// A board has one defect, so that its number is that of the label, too.
fn annotation((id, category): (u64, u64), rect: Rect) -> Value {
    let Rect { x, y, width, height } = rect;
    let bbox = [x, y, width, height];
    json!({"id": id, "image_id": id, "category_id": category, "bbox": bbox, "area": rect.area_px(), "iscrowd": 0})
}
