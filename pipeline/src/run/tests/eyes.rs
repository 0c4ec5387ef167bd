//! Stations with trained eyes.

use models::Scope;
use serde_json::json;

use super::*;
use crate::{
    report::{Diagnosis, Extent, LeafSeverity, ModelUse, Shown},
    stage::{Describe, Diagnose, Seen, Suspect, Words},
};

/// Names frames by their number, or places in them; those of `judges` know good parts.
struct Reader<F> {
    judges: bool,
    scope: Scope,
    name: F,
}

impl<F: FnMut(u64) -> Result<Diagnosis, StageError> + Send> Diagnose for Reader<F> {
    fn judges(&self) -> bool {
        self.judges
    }

    fn speaks(&self) -> bool {
        false
    }

    fn scope(&self) -> Scope {
        self.scope
    }

    fn models(&self) -> Vec<ModelUse> {
        vec![model("head")]
    }

    fn diagnose(&mut self, frame: &Frame) -> Result<Seen, StageError> {
        let place = HeatMap { size: Size::new(4, 1), values: vec![0.0, 0.0, 0.0, 4.0], threshold: 1.0 };
        let diagnosis = (self.name)(frame.id().seq)?;
        Ok(Seen { diagnosis, judges: self.judges, glimpse: None, place: Some(place), region: None })
    }
}

fn model(role: &str) -> ModelUse {
    ModelUse {
        role: role.to_owned(),
        name: "test".to_owned(),
        sha256: "0".repeat(64),
        runtime: "test".to_owned(),
        precision: "f32".to_owned(),
    }
}

fn diagnosis(finding: &str, familiarity: f64) -> Diagnosis {
    Diagnosis {
        by: "test".to_owned(),
        subject: None,
        finding: finding.to_owned(),
        code: Some("steel_patches".to_owned()),
        is_good: finding == "good",
        probability: 0.9,
        alternatives: Vec::new(),
        familiarity: Some(familiarity),
        shows: None,
        extent: None,
        language_model: None,
    }
}

/// Scores frame 1 above the limit, with a region that the gate has no name for.
struct OneRegion;

impl Gate for OneRegion {
    fn judge(&mut self, frame: &Frame, _features: Option<&Features>) -> Result<GateReading, ModelError> {
        let score = if frame.id().seq == 1 { 2.0 } else { 0.5 };
        let rect = cameras::Rect { x: 1, y: 1, width: 5, height: 5 };
        let heat_map = HeatMap { size: Size::new(1, 1), values: vec![score], threshold: 1.0 };
        let regions = vec![models::Region { rect, score, area_px: 20, code: None, probability: None }];
        Ok(GateReading { score, threshold: 1.0, p_value: Some(0.5), heat_map, regions })
    }

    fn magnification(&self) -> Option<f64> {
        None
    }
}

fn reports(station: Station) -> Vec<Report> {
    let memory = Memory::default();
    let knowledge = crate::knowledge::Knowledge::embedded().unwrap();
    pipeline(station).catalogue(Box::new(knowledge)).run(Box::new(memory.clone()), &Stop::default()).unwrap();
    let reports = memory.reports.lock().unwrap();
    reports.clone()
}

fn station(
    (judges, gate): (bool, bool),
    name: impl FnMut(u64) -> Result<Diagnosis, StageError> + Send + 'static,
) -> Station {
    looked_at_by(Reader { judges, scope: Scope::Picture, name }, gate.then(one_region))
}

fn one_region() -> Reference {
    Reference { gate: Box::new(OneRegion), ..all_good() }
}

fn looked_at_by(eyes: impl Diagnose + 'static, reference: Option<Reference>) -> Station {
    Station::new("press", Box::new(Script::good(3))).reference(reference).eyes(Some(Box::new(eyes)))
}

#[test]
fn eyes_that_know_good_parts_judge_alone() {
    let names = |frame| Ok(diagnosis(["good", "dent", "good"][frame as usize], if frame == 2 { 0.001 } else { 0.5 }));
    let reports = reports(station((true, false), names));
    let verdicts: Vec<_> = reports.iter().map(|report| report.verdict).collect();
    assert_eq!(verdicts, [Verdict::Pass, Verdict::Fail, Verdict::Review]);
    assert!(reports.iter().all(|report| report.decided_by == DecidedBy::Head && report.timing_ms.diagnose.is_some()));
    assert_eq!(reports[1].disposition, crate::report::Disposition::Rework);
    assert_eq!(reports[1].diagnosis.as_ref().unwrap().finding, "dent");
    // Named and weighed by the catalogue, where the eyes see it; what does not stand has no place.
    let places: Vec<_> =
        reports.iter().map(|report| report.defects.first().map(|defect| defect.zone.as_str())).collect();
    assert_eq!(places, [None, Some("right"), None]);
    let defect = &reports[1].defects[0];
    assert_eq!(defect.code, "steel_patches");
    assert!((defect.strength - 4.0).abs() < 1e-6, "{defect:?}");
}

/// Sees something else than the eyes in every frame.
struct Contradicting;

impl Describe for Contradicting {
    fn describe(&mut self, suspect: &Suspect<'_>) -> Result<Words, StageError> {
        let words = Writer(|| Ok(())).describe(suspect)?;
        Ok(Words { named: Some("a clean part".to_owned()), author: Some(model("language")), ..words })
    }
}

#[test]
fn what_the_language_model_contradicts_is_not_marked() {
    let memory = Memory::default();
    let station = station((true, false), |_| Ok(diagnosis("dent", 0.5)));
    pipeline(station).describer(Box::new(Contradicting)).run(Box::new(memory.clone()), &Stop::default()).unwrap();
    let reports = memory.reports.lock().unwrap();
    assert!(reports.iter().all(|report| report.verdict == Verdict::Review && report.defects.is_empty()), "{reports:?}");
}

#[test]
fn a_report_names_the_language_model_where_it_had_a_part_and_every_model_once() {
    let memory = Memory::default();
    let gate = Reference { models: vec![model("gate"), model("head")], ..one_region() };
    let station =
        looked_at_by(Reader { judges: false, scope: Scope::Picture, name: |_| Ok(diagnosis("dent", 0.5)) }, Some(gate));
    pipeline(station).describer(Box::new(Contradicting)).run(Box::new(memory.clone()), &Stop::default()).unwrap();
    let reports = memory.reports.lock().unwrap();
    let roles = |report: &Report| report.models.iter().map(|model| model.role.clone()).collect::<Vec<_>>();
    assert_eq!(roles(&reports[0]), ["gate", "head"], "nothing was written about a good frame");
    assert_eq!(roles(&reports[1]), ["gate", "head", "language"]);
}

#[test]
fn eyes_that_know_only_defects_look_at_suspects_and_name_their_regions() {
    let reports = reports(station((false, true), |_| Ok(diagnosis("scratch", 0.5))));
    let named: Vec<_> = reports.iter().map(|report| report.diagnosis.is_some()).collect();
    assert_eq!(named, [false, true, false]);
    assert_eq!((reports[1].verdict, reports[1].decided_by), (Verdict::Fail, DecidedBy::Bank));
    assert_eq!(reports[1].defects[0].code, "steel_patches");
    assert!(reports[1].reason.ends_with("; by its looks scratch (0.90)"), "{}", reports[1].reason);
}

#[test]
fn eyes_that_look_at_places_name_what_the_gate_has_found_and_judge_nothing() {
    let eyes = |name: &'static str| Reader {
        judges: false,
        scope: Scope::Places { side_px: 8 },
        name: move |_| Ok(diagnosis(name, 0.5)),
    };
    let named = reports(looked_at_by(eyes("scratch"), Some(one_region())));
    let looked: Vec<_> = named.iter().map(|report| report.diagnosis.is_some()).collect();
    assert_eq!(looked, [false, true, false]);
    assert_eq!((named[1].verdict, named[1].decided_by), (Verdict::Fail, DecidedBy::Bank));
    assert_eq!(named[1].defects[0].code, "steel_patches");
    assert!(named[1].reason.ends_with("; by its looks scratch (0.90)"), "{}", named[1].reason);
    // What looks good to them is still stranger than every good part.
    let good = reports(looked_at_by(eyes("good"), Some(one_region())));
    assert_eq!((good[1].verdict, good[1].defects[0].code.as_str()), (Verdict::Fail, "unknown_anomaly"));
    // Without a gate nobody has found a place, and of a whole frame they would name what they have never learned.
    let ungated = reports(looked_at_by(eyes("scratch"), None));
    assert!(ungated.iter().all(|report| report.diagnosis.is_none() && report.verdict == Verdict::Review));
    assert!(ungated[0].reason.ends_with("look at places that a gate finds, and there is no gate"), "{ungated:?}");
}

#[test]
fn a_diagnosis_that_does_not_stand_names_no_region() {
    let reports = reports(station((false, true), |_| Ok(diagnosis("scratch", 0.001))));
    assert_eq!(reports[1].defects[0].code, "unknown_anomaly");
    assert!(reports[1].reason.contains("looks like nothing that test has learned"), "{}", reports[1].reason);
}

#[test]
fn what_is_shown_instead_is_said_of_strangers_alone_and_how_bad_it_is_of_the_others() {
    let extent = Some(Extent { discoloured_share: 0.2, severity: LeafSeverity::Medium });
    let said = |shows, familiarity| {
        let eyes = move |_| Ok(Diagnosis { shows, extent, ..diagnosis("good", familiarity) });
        let report = serde_json::to_value(&reports(station((true, false), eyes))[0]).unwrap();
        ["shows", "extent"].map(|key| report["diagnosis"][key].clone())
    };
    assert_eq!(said(Some(Shown::PoorPicture), 0.01), [json!("poor_picture"), json!(null)]);
    assert_eq!(said(None, 0.01), [json!("unknown"), json!(null)]);
    let known = said(Some(Shown::Plant), 0.5);
    assert_eq!(known, [json!(null), json!({"discoloured_share": 0.2, "severity": "medium"})]);
}

#[test]
fn eyes_that_fail_cost_a_good_frame_its_verdict_and_a_suspect_one_its_name() {
    let reports = reports(station((true, true), |_| Err("blind".into())));
    let verdicts: Vec<_> = reports.iter().map(|report| report.verdict).collect();
    assert_eq!(verdicts, [Verdict::Invalid, Verdict::Fail, Verdict::Invalid]);
    assert_eq!(reports[0].reason, "the diagnose stage failed on this picture: blind");
}
