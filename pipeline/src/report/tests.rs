use std::{env, fs, path::Path};

use cameras::Rect;

use super::*;

/// Returns a report that uses every field, the same at every call.
pub(crate) fn full_example() -> Report {
    Report {
        schema: SCHEMA.to_owned(),
        report_id: Uuid::from_u128(0x0190_a5b2_0000_7000_8000_0000_0000_0001),
        seq: 7,
        station: "press".to_owned(),
        source: Source {
            camera: "top".to_owned(),
            frame: 9,
            path: Some("parts/0009.png".to_owned()),
            width: 640,
            height: 480,
        },
        time: Times {
            captured: Timestamp::constant(1_795_000_000, 250_000_000),
            judged: Timestamp::constant(1_795_000_000, 310_000_000),
        },
        image_quality: Some(example_quality()),
        verdict: Verdict::Fail,
        disposition: Disposition::Rework,
        decided_by: DecidedBy::Bank,
        reason: "1 region is 2.5 times as strange as good parts are".to_owned(),
        score: Some(Score {
            raw: 5.0,
            calibrated_p: Some(0.0625),
            threshold: 2.0,
            threshold_source: "max of 16 leave-one-out scores".to_owned(),
            false_alarm_bound: Some(0.17),
            calibration_id: "c".repeat(64),
        }),
        defects: vec![example_defect()],
        diagnosis: Some(example_diagnosis()),
        description: Some(example_description()),
        models: vec![ModelUse {
            role: "encoder".to_owned(),
            name: "efficientnet-lite0".to_owned(),
            sha256: "e".repeat(64),
            runtime: "ort cpu".to_owned(),
            precision: "f32".to_owned(),
        }],
        app_version: "0.1.0".to_owned(),
        config_sha256: "f".repeat(64),
        evidence: vec![Evidence {
            kind: EvidenceKind::Original,
            path: "evidence/2026/11/18/press/example_original.png".to_owned(),
            sha256: "a".repeat(64),
            bytes: 1234,
            mime: "image/png".to_owned(),
        }],
        timing_ms: Timing {
            queue: 0.5,
            check: Some(1.5),
            encode: Some(30.0),
            gate: Some(8.0),
            diagnose: Some(12.0),
            describe: Some(20.0),
            total: 60.0,
        },
    }
}

fn example_diagnosis() -> Diagnosis {
    Diagnosis {
        by: "crops".to_owned(),
        subject: Some("tomato leaf".to_owned()),
        finding: "early blight".to_owned(),
        code: Some("tomato_early_blight".to_owned()),
        is_good: false,
        probability: 0.9,
        alternatives: vec![Alternative { name: "tomato leaf: septoria leaf spot".to_owned(), probability: 0.06 }],
        familiarity: Some(0.4),
        shows: None,
        extent: Some(Extent { discoloured_share: 0.18, severity: LeafSeverity::Medium }),
        language_model: Some("tomato leaf: early blight".to_owned()),
    }
}

fn example_quality() -> ImageQuality {
    ImageQuality {
        focus: 210.5,
        mean_luma: 118.25,
        saturated_ratio: 0.0,
        dark_ratio: 0.125,
        ok: true,
        problems: vec![],
    }
}

fn example_defect() -> Defect {
    Defect {
        code: "scratch".to_owned(),
        label: "scratch".to_owned(),
        probability: Some(0.875),
        severity: Severity::Major,
        strength: 2.5,
        found_by: FoundBy::Gate,
        bbox: Rect { x: 320, y: 120, width: 80, height: 40 },
        area_px: 900,
        zone: "top right".to_owned(),
    }
}

fn example_description() -> Description {
    Description {
        summary: "A scratch in the top right.".to_owned(),
        signs: Vec::new(),
        how_bad: Vec::new(),
        possible_causes: vec!["a worn gripper".to_owned()],
        ask_when: Vec::new(),
        actions: vec!["check the gripper pads".to_owned()],
        sources: vec!["knowledge base, scratch".to_owned()],
        sees_pixels: false,
        prompt_sha256: "d".repeat(64),
        tokens_in: 120,
        tokens_out: 60,
        tokens_forced: 40,
    }
}

#[test]
fn field_names_are_frozen() {
    insta::assert_json_snapshot!(full_example());
}

#[test]
fn reads_back_what_it_wrote() {
    let json = serde_json::to_string(&full_example()).unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), full_example());
}

/// Run with `LOUPE_BLESS=1` to publish a changed schema.
#[test]
fn published_schema_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/report.schema.json");
    let schema = serde_json::to_value(Report::json_schema()).unwrap();
    if env::var_os("LOUPE_BLESS").is_some() {
        fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&schema).unwrap())).unwrap();
    }
    let published: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    assert!(published == schema, "{} differs from Report; bless it if the change is additive", path.display());
}

#[test]
fn names_of_enums_are_those_of_json() {
    for verdict in Verdict::ALL {
        assert_eq!(serde_json::to_value(verdict).unwrap(), verdict.as_str());
    }
    for kind in [EvidenceKind::Original, EvidenceKind::Overlay] {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
    }
}

#[test]
fn finds_a_number_that_json_cannot_hold() {
    let mut report = full_example();
    assert_eq!(report.non_finite(), None);
    report.defects[0].strength = f64::INFINITY;
    assert_eq!(report.non_finite(), Some(("defects.strength", f64::INFINITY)));
}
