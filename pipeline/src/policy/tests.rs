use cameras::Size;
use models::HeatMap;

use super::*;

fn reading(score: f32, p_value: Option<f64>) -> GateReading {
    let heat_map = HeatMap { size: Size::new(0, 0), values: Vec::new(), threshold: 1.0 };
    GateReading { score, threshold: 1.0, p_value, heat_map, regions: Vec::new() }
}

fn quality(problems: &[&str]) -> ImageQuality {
    let problems: Vec<String> = problems.iter().map(|&problem| problem.to_owned()).collect();
    let (focus, mean_luma) = (100.0, 128.0);
    ImageQuality { focus, mean_luma, saturated_ratio: 0.0, dark_ratio: 0.0, ok: problems.is_empty(), problems }
}

const GOOD: Facts<'_> = Facts {
    unreadable: None,
    failure: None,
    quality: None,
    reading: None,
    diagnosis: None,
    proposed: None,
    age: Duration::ZERO,
};

#[test]
fn decides_in_three_zones() {
    let strict = Policy { amber: AmberAction::Review, ..Policy::default() };
    let lenient = Policy::default();
    let cases = [
        ("green", &strict, 0.5, Some(0.9), Verdict::Pass, Disposition::Accept),
        ("amber, strict", &strict, 0.9, Some(0.1), Verdict::Review, Disposition::Hold),
        ("amber, lenient", &lenient, 0.9, Some(0.1), Verdict::Pass, Disposition::Accept),
        ("at the limit", &strict, 1.0, Some(0.5), Verdict::Pass, Disposition::Accept),
        ("red", &lenient, 1.1, Some(0.05), Verdict::Fail, Disposition::Hold),
        ("red without calibration", &lenient, 1.1, None, Verdict::Fail, Disposition::Hold),
        ("green without calibration", &strict, 0.9, None, Verdict::Pass, Disposition::Accept),
        ("not a number", &lenient, f32::NAN, None, Verdict::Review, Disposition::Hold),
    ];
    for (name, policy, score, p_value, verdict, disposition) in cases {
        let reading = reading(score, p_value);
        let decision = decide(policy, &Facts { reading: Some((&reading, DecidedBy::Bank)), ..GOOD });
        assert_eq!((decision.verdict, decision.disposition), (verdict, disposition), "{name}");
        assert_eq!(decision.decided_by, DecidedBy::Bank, "{name}");
    }
}

#[test]
fn the_catalogue_proposes_what_to_do_with_a_rejected_part_only() {
    for (score, expected) in [(1.5, Disposition::Scrap), (0.5, Disposition::Accept)] {
        let reading = reading(score, Some(0.5));
        let facts = Facts { reading: Some((&reading, DecidedBy::Bank)), proposed: Some(Disposition::Scrap), ..GOOD };
        assert_eq!(decide(&Policy::default(), &facts).disposition, expected, "{score}");
    }
}

#[test]
fn what_cannot_be_judged_is_invalid_even_when_the_gate_is_content() {
    let (content, blurred) = (reading(0.1, Some(1.0)), quality(&["out of focus", "too dark"]));
    let failure = Failure { stage: "gate", message: "no bank".to_owned() };
    let judged = Facts { reading: Some((&content, DecidedBy::Bank)), ..GOOD };
    let cases = [
        (Facts { unreadable: Some("a.png: empty"), ..judged }, DecidedBy::ImageCheck, "a.png: empty"),
        (Facts { failure: Some(&failure), ..judged }, DecidedBy::Failure, "gate stage failed"),
        (Facts { quality: Some(&blurred), ..judged }, DecidedBy::ImageCheck, "out of focus, too dark"),
    ];
    for (facts, decided_by, part) in cases {
        let decision = decide(&Policy::default(), &facts);
        assert_eq!((decision.verdict, decision.disposition), (Verdict::Invalid, Disposition::Hold), "{part}");
        assert_eq!(decision.decided_by, decided_by);
        assert!(decision.reason.contains(part), "{}", decision.reason);
    }
}

#[test]
fn nothing_enrolled_means_review() {
    let fit = quality(&[]);
    let decision = decide(&Policy::default(), &Facts { quality: Some(&fit), ..GOOD });
    assert_eq!((decision.verdict, decision.decided_by), (Verdict::Review, DecidedBy::NoReference));
}

#[test]
fn a_missed_deadline_is_the_configured_failsafe() {
    let within = Duration::from_millis(100);
    let content = reading(0.1, Some(1.0));
    let cases = [
        (Failsafe::Fail, 100, Verdict::Fail, DecidedBy::TimeoutFailsafe),
        (Failsafe::Review, 150, Verdict::Review, DecidedBy::TimeoutFailsafe),
        (Failsafe::Fail, 99, Verdict::Pass, DecidedBy::Bank),
    ];
    for (failsafe, age, verdict, decided_by) in cases {
        let policy = Policy { deadline: Some(Deadline { within, failsafe }), ..Policy::default() };
        let age = Duration::from_millis(age);
        let decision = decide(&policy, &Facts { reading: Some((&content, DecidedBy::Bank)), age, ..GOOD });
        assert_eq!((decision.verdict, decision.decided_by), (verdict, decided_by), "{failsafe:?} {age:?}");
    }
}
