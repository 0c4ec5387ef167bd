use std::{fs, path::Path};

use cameras::{Frame, Rect};
use image::{GrayImage, Luma};
use models::{GateReading, HeatMap, ModelError, Region};

use super::*;
use crate::stage::StageError;

mod coco;

/// Compares each pixel with the mean of the golden ones; the threshold is the largest difference among these.
#[derive(Default)]
struct MeanDifference {
    judged: usize,
    /// Fails as a killed process does, from this image on.
    killed_at: Option<usize>,
    pace: std::time::Duration,
    mean: Vec<f32>,
    threshold: f32,
}

impl MeanDifference {
    fn heat(&self, frame: &Frame) -> Vec<f32> {
        frame.luma8().iter().zip(&self.mean).map(|(&pixel, mean)| (f32::from(pixel) - mean).abs()).collect()
    }
}

impl Inspector for MeanDifference {
    fn name(&self) -> String {
        "mean difference".to_owned()
    }

    fn fingerprint(&self) -> String {
        "mean difference".to_owned()
    }

    fn enroll(&mut self, golden: &[Frame]) -> Result<(), ModelError> {
        let n = golden.len() as f32;
        let sum = |index: usize| golden.iter().map(|frame| f32::from(frame.luma8()[index])).sum::<f32>();
        self.mean = (0..golden[0].size().area_px()).map(|index| sum(index) / n).collect();
        self.threshold = golden.iter().flat_map(|frame| self.heat(frame)).fold(0.0, f32::max);
        Ok(())
    }

    fn explanation(&self) -> String {
        "largest difference of a golden pixel".to_owned()
    }

    fn judge(&mut self, frame: &Frame) -> Result<GateReading, StageError> {
        assert_ne!(self.killed_at, Some(self.judged), "killed");
        self.judged += 1;
        std::thread::sleep(self.pace);
        let size = frame.size();
        if size.area_px() != self.mean.len() {
            let (expected, found) = (format!("{} pixels", self.mean.len()), format!("{size}"));
            return Err(ModelError::Mismatch { what: "frame".to_owned(), expected, found }.into());
        }
        let values = self.heat(frame);
        let score = values.iter().copied().fold(0.0, f32::max);
        let rect = Rect { x: 4, y: 4, width: 4, height: 4 };
        let region = Region { rect, score, area_px: 16, code: Some("pcb_open".to_owned()), probability: None };
        let regions = if score > self.threshold { vec![region] } else { Vec::new() };
        let heat_map = HeatMap { size, values, threshold: self.threshold };
        Ok(GateReading { score, threshold: self.threshold, p_value: None, heat_map, regions })
    }
}

#[derive(Default)]
struct Calls(Vec<(usize, usize)>);

impl Watcher for Calls {
    fn judged(&mut self, done: usize, total: usize) {
        self.0.push((done, total));
    }
}

const SIDE_PX: u32 = 16;

fn save(path: &Path, picture: &GrayImage) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    picture.save(path).unwrap();
}

/// A part whose grey level is `level`, with a spot where `spot` says.
fn part(level: u8, spot: Option<Rect>) -> GrayImage {
    GrayImage::from_fn(SIDE_PX, SIDE_PX, |x, y| {
        let is_spot = spot.is_some_and(|r| x >= r.x && x < r.x + r.width && y >= r.y && y < r.y + r.height);
        Luma([if is_spot { 250 } else { level }])
    })
}

const SPOT: Rect = Rect { x: 4, y: 4, width: 4, height: 4 };

/// Four good and three bad parts; one bad one is too faint to be seen, and one file is not a picture.
fn write_mvtec(root: &Path) {
    for (index, level) in [100, 104, 108].into_iter().enumerate() {
        save(&root.join(format!("train/good/{index}.png")), &part(level, None));
    }
    for (name, level) in [("0.png", 101), ("1.bmp", 104), ("2.png", 107), ("3.png", 120)] {
        save(&root.join("test/good").join(name), &part(level, None));
    }
    for index in 0..2 {
        save(&root.join(format!("test/spot/{index}.png")), &part(103, Some(SPOT)));
        save(&root.join(format!("ground_truth/spot/{index}_mask.png")), &part(0, Some(SPOT)));
    }
    save(&root.join("test/faint/0.png"), &part(105, None));
    fs::write(root.join("test/faint/1.png"), "no picture").unwrap();
    save(&root.join("test/spot/2.png"), &part(103, Some(SPOT)));
    fs::write(root.join("ground_truth/spot/2_mask.png"), "no mask").unwrap();
}

fn plan(root: &Path, layout: Layout) -> Plan {
    let output = root.join("out");
    Plan { dataset: root.join("set"), layout, good: None, station: None, shots: None, seeds: 1, output }
}

#[test]
fn a_whole_evaluation_with_masks_faults_and_files() {
    let root = tempfile::tempdir().unwrap();
    write_mvtec(&root.path().join("set"));
    save(&root.path().join("set/test/good/seen.png"), &part(104, None));
    let mut calls = Calls::default();
    let plan = plan(root.path(), Layout::Mvtec);
    let metrics = evaluate(&plan, &mut MeanDifference::default(), &mut calls).unwrap();
    assert_eq!(calls.0.last(), Some(&(9, 9)));
    assert_eq!((metrics.n_images, metrics.n_good, metrics.n_defective, metrics.n_invalid), (8, 4, 4, 1));
    let value = |name: &str| metrics.measures[name];
    // Threshold 4: of the good ones 120 is overkill, the faint defect escapes.
    assert_eq!((metrics.threshold, value("overkill_rate"), value("escape_rate")), (Some(4.0), Some(0.25), Some(0.25)));
    assert_eq!(value("accuracy"), Some(0.75));
    // Scores: good 3, 0, 3, 16; defective 146, 146, 146, 1: 13 of 16 pairs are in order.
    assert_eq!(value("image_auroc"), Some(13.0 / 16.0));
    assert_eq!(value("pixel_auroc"), Some(1.0));
    assert_eq!(value("map_033"), None);
    // By distance from the threshold: 0 and 146 thrice right, 16 and 1 wrong, 3 twice right.
    let close = |name: &str, expected: f64| assert!((value(name).unwrap() - expected).abs() < 1e-9, "{name}");
    close("aurc", (1.0 / 5.0 + 2.0 / 6.0 + 2.0 / 7.0 + 2.0 / 8.0) / 8.0);
    close("accuracy_at_coverage_80pct", 5.0 / 7.0);
    assert_eq!((metrics.selective.len(), metrics.selective[9].accuracy), (20, 1.0));
    assert!(metrics.intervals_95["escape_rate"].high > 0.25);
    let kinds: Vec<ProblemKind> = metrics.problems.iter().map(|problem| problem.kind).collect();
    assert_eq!(kinds, [ProblemKind::InvalidImage, ProblemKind::BadMask]);
    assert!(metrics.leakage.len() == 1 && metrics.leakage[0].judged.ends_with("test/good/seen.png"));

    let json: serde_json::Value = serde_json::from_slice(&fs::read(plan.output.join("metrics.json")).unwrap()).unwrap();
    assert_eq!(json["image_auroc"], 13.0 / 16.0);
    assert_eq!(json["map_033"], serde_json::Value::Null);
    let lines = fs::read_to_string(plan.output.join("predictions.jsonl")).unwrap();
    assert_eq!(lines.lines().count(), 9);
    assert_eq!(lines.lines().filter(|line| line.contains("\"error\"")).count(), 1);
    let table = fs::read_to_string(plan.output.join("predictions.csv")).unwrap();
    // What is said about the file that is not a picture holds commas and is quoted.
    let fields: Vec<usize> =
        table.lines().filter(|line| !line.contains('"')).map(|line| line.split(',').count()).collect();
    assert_eq!(fields, [12; 9], "{table}");
    for (verdict, count) in [("caught", 3), ("escaped", 1), ("overkill", 1), ("passed", 3), ("invalid", 1)] {
        assert_eq!(table.matches(&format!(",{verdict},")).count(), count, "{verdict} in {table}");
    }
    assert!(!plan.output.join("coco_detections.json").exists());
    let page = fs::read_to_string(plan.output.join("report.html")).unwrap();
    // Of the faint defect and of the good parts that passed.
    assert_eq!(page.matches("The heat stays below the threshold").count(), 3);
    assert!(
        page.contains("seen.png</code>")
            && page.contains("data:image/jpeg;base64,")
            && page.contains("escaped")
            && !page.contains("://")
    );
}

#[test]
fn an_interrupted_evaluation_goes_on_where_it_was() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    write_mvtec(&set);
    let plan = plan(root.path(), Layout::Mvtec);
    let run = |inspector: &mut MeanDifference| evaluate(&plan, inspector, &mut Calls::default()).unwrap();
    let mut whole = MeanDifference::default();
    let expected = run(&mut whole);
    let pace = std::time::Duration::from_millis(200);
    let kill = |at| {
        let mut killed = MeanDifference { killed_at: Some(at), pace, ..MeanDifference::default() };
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&mut killed))).unwrap_err();
        killed.judged
    };
    assert_eq!((kill(3), kill(2)), (3, 2));
    let journal = plan.output.join(JOURNAL);
    let text = fs::read_to_string(&journal).unwrap();
    assert_eq!(text.lines().count(), 5);
    // The last line was cut short, and one of the judged images is another one now.
    fs::write(&journal, &text[..text.len() - 40]).unwrap();
    save(&set.join("test/good/0.png"), &part(102, None));
    let mut resumed = MeanDifference::default();
    let metrics = run(&mut resumed);
    assert_eq!(resumed.judged, whole.judged - 3);
    assert_eq!((&metrics.measures["image_auroc"], metrics.n_images), (&expected.measures["image_auroc"], 8));
    assert_eq!(metrics.measures["pixel_auroc"], expected.measures["pixel_auroc"]);
    assert!(!journal.exists());
    // Three of the images took 200 ms each, before the interruption.
    let per_s = metrics.images_per_s;
    assert!(per_s <= 9.0 / 0.6, "{per_s} images a second");
}

#[test]
fn seeds_give_a_mean_and_a_spread() {
    let root = tempfile::tempdir().unwrap();
    write_mvtec(&root.path().join("set"));
    let plan = Plan { shots: Some(2), seeds: 3, ..plan(root.path(), Layout::Mvtec) };
    let metrics = evaluate(&plan, &mut MeanDifference::default(), &mut Calls::default()).unwrap();
    assert_eq!((metrics.n_golden, metrics.seeds.len()), (2, 3));
    let spread = metrics.spread["image_auroc"];
    assert!(spread.min <= spread.mean && spread.mean <= spread.max);
    assert_eq!(metrics.measures["image_auroc"], Some(spread.mean));
    let golden: Vec<_> = metrics.seeds.iter().map(|row| row.golden.clone()).collect();
    assert!(golden.windows(2).any(|pair| pair[0] != pair[1]), "{golden:?}");
}

#[test]
fn pairs_are_compared_with_their_own_template() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    for (id, level) in [(1, 60), (2, 180)] {
        save(&set.join(format!("{id}_temp.png")), &part(level, None));
        save(&set.join(format!("{id}_test.png")), &part(level, Some(SPOT)));
        fs::write(set.join(format!("{id}.txt")), format!("4 4 8 8 {id}\n12 12 15 15 {id}\nx\n")).unwrap();
    }
    let metrics =
        evaluate(&plan(root.path(), Layout::Deeppcb), &mut MeanDifference::default(), &mut Calls::default()).unwrap();
    let value = |name: &str| metrics.measures[name];
    assert_eq!((value("precision"), value("recall")), (Some(1.0), Some(0.5)));
    // Both found boxes are called open: right for pair 1 (F1 1 hit of 2 + 2), wrong for pair 2 (short, F1 0).
    assert_eq!(value("macro_f1"), Some(0.25));
    assert_eq!((value("image_auroc"), value("escape_rate")), (None, Some(0.0)));
    assert_eq!(metrics.problems.len(), 2);
}

#[test]
fn nothing_that_can_be_judged_is_an_error() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    save(&set.join("train/good/0.png"), &part(100, None));
    fs::create_dir_all(set.join("test/good")).unwrap();
    fs::write(set.join("test/good/0.png"), "no picture").unwrap();
    let error =
        evaluate(&plan(root.path(), Layout::Mvtec), &mut MeanDifference::default(), &mut Calls::default()).unwrap_err();
    assert!(
        error.to_string().contains("expected at least one image that can be judged, found 1 that cannot"),
        "{error}"
    );
}

#[test]
fn a_broken_golden_image_is_named_once_and_the_others_are_learned_from() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    write_mvtec(&set);
    let broken = set.join("train/good/1.png");
    fs::write(&broken, "no picture either").unwrap();
    let run = |plan: &Plan| evaluate(plan, &mut MeanDifference::default(), &mut Calls::default());
    let is_of = |problem: &&Problem| problem.message.starts_with(&broken.display().to_string());
    let all = plan(root.path(), Layout::Mvtec);
    let metrics = run(&all).unwrap();
    assert_eq!((metrics.n_golden, metrics.n_images, metrics.n_invalid), (2, 8, 1));
    let named: Vec<&Problem> = metrics.problems.iter().filter(is_of).collect();
    assert_eq!((named.len(), named[0].kind), (1, ProblemKind::InvalidImage));
    let drawn = Plan { shots: Some(2), seeds: 6, ..all };
    let metrics = run(&drawn).unwrap();
    assert!(metrics.seeds.iter().all(|row| row.golden == ["0.png", "2.png"]));
    assert_eq!(metrics.problems.iter().filter(is_of).count(), 1);
    let error = run(&Plan { shots: Some(3), ..drawn }).unwrap_err().to_string();
    assert!(error.contains("expected at least 3 good images that can be read, found 2; one that cannot: "), "{error}");
}

#[test]
fn a_pair_with_a_broken_template_is_invalid_and_the_rest_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    for id in 1..=2 {
        save(&set.join(format!("{id}_temp.png")), &part(60, None));
        save(&set.join(format!("{id}_test.png")), &part(60, Some(SPOT)));
        fs::write(set.join(format!("{id}.txt")), "4 4 8 8 1\n").unwrap();
    }
    fs::write(set.join("1_temp.png"), "no picture").unwrap();
    let metrics =
        evaluate(&plan(root.path(), Layout::Deeppcb), &mut MeanDifference::default(), &mut Calls::default()).unwrap();
    assert_eq!((metrics.n_images, metrics.n_invalid, metrics.problems.len()), (1, 1, 1));
    assert!(metrics.problems[0].message.contains("1_temp.png"), "{}", metrics.problems[0].message);
}

#[test]
fn an_image_of_another_size_is_invalid_and_the_rest_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let set = root.path().join("set");
    write_mvtec(&set);
    save(&set.join("test/good/9.png"), &GrayImage::new(5, 5));
    let metrics =
        evaluate(&plan(root.path(), Layout::Mvtec), &mut MeanDifference::default(), &mut Calls::default()).unwrap();
    assert_eq!((metrics.n_images, metrics.n_invalid), (8, 2));
    assert!(
        metrics.problems.iter().any(|problem| problem.message.ends_with("frame: expected 256 pixels, found 5 x 5"))
    );
}
