use cameras::{Frame, FrameId, PixelFormat, Rect, Size};
use models::{GateReading, HeatMap};

use super::*;
use crate::report::{Defect, FoundBy, ModelUse, Severity};

/// Writes always the same text and counts its orders.
struct Parrot {
    says: String,
}

impl Author for Parrot {
    fn model(&self) -> Option<ModelUse> {
        Some(ModelUse {
            role: "language".to_owned(),
            name: "parrot".to_owned(),
            sha256: "0".repeat(64),
            runtime: "beak".to_owned(),
            precision: "f32".to_owned(),
        })
    }

    fn write(&mut self, _order: &Order) -> Result<Written, StageError> {
        Ok(Written { text: self.says.clone(), tokens_in: 90, tokens_out: 40, tokens_forced: 30 })
    }
}

struct Scene {
    frame: Frame,
    reading: GateReading,
    defects: Vec<Defect>,
}

impl Scene {
    fn with(defects: &[(&str, &str, &str)]) -> Self {
        let size = Size::new(200, 100);
        let id = FrameId { source: "line".into(), seq: 0 };
        let frame = Frame::new(id, size, PixelFormat::Grey8, vec![0_u8; size.area_px()]).unwrap();
        let heat_map = HeatMap { size: Size::new(1, 1), values: vec![2.0], threshold: 1.0 };
        let reading =
            GateReading { score: 2.4, threshold: 1.0, p_value: Some(1.0 / 17.0), heat_map, regions: Vec::new() };
        let defect = |(code, label, zone): &(&str, &str, &str)| Defect {
            found_by: FoundBy::Gate,
            code: (*code).to_owned(),
            label: (*label).to_owned(),
            probability: None,
            severity: Severity::Unknown,
            strength: 2.4,
            bbox: Rect { x: 10, y: 10, width: 41, height: 39 },
            area_px: 1200,
            zone: (*zone).to_owned(),
        };
        Self { frame, reading, defects: defects.iter().map(defect).collect() }
    }

    fn suspect(&self) -> Suspect<'_> {
        Suspect {
            station: "line",
            frame: &self.frame,
            reading: Some(&self.reading),
            seen: None,
            sure_from: 0.6,
            defects: &self.defects,
            time_left: None,
        }
    }
}

fn knowledge() -> (Knowledge, Arc<Crops>) {
    (Knowledge::embedded().unwrap(), Arc::new(Crops::embedded().unwrap()))
}

fn screw() -> Scene {
    Scene::with(&[("missing_screw", "missing screw", "top left")])
}

fn describe(scene: &Scene, says: Option<&str>) -> (Description, u64) {
    let author = says.map(|says| Box::new(Parrot { says: says.to_owned() }) as Box<dyn Author>);
    let mut describer = Describer::new(knowledge(), author);
    let description = describer.describe(&scene.suspect()).unwrap().description;
    (description, describer.rejected())
}

const PLAIN: &str = "Suspected missing screw at the top left, 41 x 39 px, 6.0 % of the picture. The score is 2.4 times the \
                     limit for good parts; good parts score so high in at most 5.9 % of cases. To confirm, check: position id; \
                     count found vs expected.";

#[test]
fn without_an_author_the_plain_sentence_stands() {
    let (description, rejected) = describe(&screw(), None);
    assert_eq!((description.summary.as_str(), rejected), (PLAIN, 0));
    assert!(!description.sees_pixels);
    assert_eq!(description.possible_causes[0], "feeder or pick-up failure");
    assert!(description.actions[0].starts_with("contain since last good check"));
    assert_eq!(description.sources[0], "general assembly practice");
}

#[test]
fn a_text_that_holds_to_the_facts_is_taken() {
    let says = r#"{"summary": "Possible missing screw at the top left (41 x 39 px, 6.0 % of the picture)."}"#;
    let (description, rejected) = describe(&screw(), Some(says));
    assert!(description.summary.starts_with("Possible missing screw"), "{}", description.summary);
    assert_eq!((rejected, description.tokens_in, description.tokens_out, description.tokens_forced), (0, 90, 40, 30));
}

#[test]
fn a_text_that_does_not_is_replaced_and_counted() {
    let cases = [
        r#"{"summary": "Two screws are missing, 99 x 39 px."}"#,
        r#"{"summary": "Suspected missing screw at the bottom right."}"#,
        r#"{"summary": "A crack at the top left."}"#,
        r#"{"summary": "Suspected missing screw at the top right and top left."}"#,
        r#"{"summary": "Scratch at the top left, 41 x 39 px."}"#,
        r#"{"summary": ""}"#,
        r#"{"summary": "Suspected missing screw", "cause": "gremlins"}"#,
        "Suspected missing screw at the top left",
        "",
    ];
    for says in cases {
        let (description, rejected) = describe(&screw(), Some(says));
        assert_eq!((description.summary.as_str(), rejected, description.tokens_out), (PLAIN, 1, 0), "{says}");
    }
}

#[test]
fn every_plain_sentence_passes_its_own_check() {
    let knowledge = Knowledge::embedded().unwrap();
    let zones = ["top left", "top", "centre", "right", "bottom right", "whole picture"];
    for entry in &knowledge.entries {
        for (index, zone) in zones.iter().enumerate() {
            let other = zones[(index + 1) % zones.len()];
            let scene = Scene::with(&[(&entry.id, &entry.label, zone), (&entry.id, &entry.label, other)]);
            let facts = Facts::of(&scene.suspect(), &scene.reading);
            let phrases = Phrases::of(&facts, Some(entry), &knowledge);
            assert_eq!(check::against(&knowledge, &facts, &phrases, &phrases.plain()), Ok(()), "{}", phrases.plain());
        }
    }
}

#[test]
fn says_what_was_measured_however_little() {
    let knowledge = Knowledge::embedded().unwrap();
    let mut scene = Scene::with(&[]);
    scene.reading.p_value = None;
    scene.reading.threshold = 0.0;
    let facts = Facts::of(&scene.suspect(), &scene.reading);
    let phrases = Phrases::of(&facts, None, &knowledge);
    assert_eq!(phrases.plain(), "The picture as a whole differs from the good samples.");
    assert_eq!(check::against(&knowledge, &facts, &phrases, &phrases.plain()), Ok(()));
    let scene =
        Scene::with(&[("unknown_anomaly", "unknown anomaly", "left"), ("unknown_anomaly", "unknown anomaly", "top")]);
    let (description, _) = describe(&scene, None);
    let expected = "An area at the left differs from the good samples, 41 x 39 px, 6.0 % of the picture. It is the strongest of \
                    2 marked areas; look also at the top.";
    assert!(description.summary.starts_with(expected), "{}", description.summary);
}

#[test]
fn a_name_may_hold_numbers_and_places() {
    let knowledge = Knowledge::embedded().unwrap();
    let scene = Scene::with(&[("type_2_top_rot", "type 2 top rot", "left")]);
    let facts = Facts::of(&scene.suspect(), &scene.reading);
    let phrases = Phrases::of(&facts, None, &knowledge);
    let plain = phrases.plain();
    assert!(plain.contains("type 2 top rot"), "{plain}");
    assert_eq!(check::against(&knowledge, &facts, &phrases, &plain), Ok(()));
    let invented = format!("{plain} There are 2 of them.");
    assert_eq!(
        check::against(&knowledge, &facts, &phrases, &invented),
        Err("the number 2 was not measured".to_owned())
    );
}

#[test]
fn no_time_means_no_model() {
    let says = r#"{"summary": "Possible missing screw at the top left."}"#;
    let author = Box::new(Parrot { says: says.to_owned() });
    let mut describer = Describer::new(knowledge(), Some(author));
    describer.slowest = Duration::from_secs(1);
    let scene = screw();
    let hurried = Suspect { time_left: Some(Duration::from_millis(10)), ..scene.suspect() };
    let words = describer.describe(&hurried).unwrap();
    assert_eq!((words.description.summary.as_str(), words.author), (PLAIN, None));
    let relaxed = Suspect { time_left: Some(Duration::from_secs(5)), ..scene.suspect() };
    let words = describer.describe(&relaxed).unwrap();
    assert!(words.description.summary.starts_with("Possible") && words.author.is_some(), "{words:?}");
}

#[test]
fn the_pattern_escapes_what_it_quotes() {
    let (description, _) = describe(&screw(), None);
    let facts = Facts::of(&screw().suspect(), &screw().reading);
    let knowledge = Knowledge::embedded().unwrap();
    let pattern = Phrases::of(&facts, knowledge.entry("missing_screw"), &knowledge).pattern();
    assert!(pattern.contains(r" \(41 x 39 px, 6\.0 % of the picture\)\."), "{pattern}");
    assert_eq!(description.prompt_sha256.len(), 64);
}
