//! From the regions that a gate or trained eyes found to the defects that a report names.

use cameras::{Rect, Size};
use models::{GateReading, Region};

use crate::{
    report::{Defect, Diagnosis, Disposition, FoundBy, Severity},
    stage::{Catalogue, KnownDefect},
};

/// Code of a defect that nobody has a name for.
pub const UNKNOWN_ANOMALY: &str = "unknown_anomaly";

/// Defects and what the catalogue proposes to do with the part because of them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Findings {
    /// Strongest first.
    pub defects: Vec<Defect>,
    /// What the catalogue proposes for the most severe of them.
    pub proposed: Option<Disposition>,
}

impl Findings {
    /// Takes back what `diagnosis` has named, because it does not stand: what a gate has found stays, without that name, and what its eyes have
    /// marked goes. Of eyes that looked at one `region`, the names of others stay.
    pub fn retract(&mut self, diagnosis: &Diagnosis, region: Option<Rect>) {
        let code = diagnosis.code_or_finding();
        let is_meant = |defect: &Defect| defect.code == code && region.is_none_or(|region| region == defect.bbox);
        self.defects.retain(|defect| defect.found_by == FoundBy::Gate);
        for defect in self.defects.iter_mut().filter(|defect| is_meant(defect)) {
            UNKNOWN_ANOMALY.clone_into(&mut defect.code);
            defect.label = UNKNOWN_ANOMALY.replace('_', " ");
            defect.severity = Severity::Unknown;
            defect.probability = None;
        }
        self.proposed = None;
    }
}

/// Regions of a frame that are worth a name.
#[derive(Debug, Clone, Copy)]
pub struct Marked<'a> {
    /// Strongest first.
    pub regions: &'a [Region],
    /// The heat from which a cell counts as strange.
    pub threshold: f32,
    /// Of the frame.
    pub size: Size,
    /// What trained eyes call what the gate has no name for.
    pub name: Option<&'a Diagnosis>,
    /// Who marked them.
    pub found_by: FoundBy,
}

impl<'a> Marked<'a> {
    /// Returns the regions that a gate found in a frame of this size; see [`Self::name`].
    pub fn by_gate(reading: &'a GateReading, size: Size, name: Option<&'a Diagnosis>) -> Self {
        Self { regions: &reading.regions, threshold: reading.heat_map.threshold, size, name, found_by: FoundBy::Gate }
    }
}

/// Returns the regions as defects, with names, severity and proposals from `catalogue`.
pub fn findings(marked: Marked<'_>, catalogue: Option<&dyn Catalogue>) -> Findings {
    let mut findings = Findings::default();
    let mut worst = 0;
    for region in marked.regions {
        let own = region.code.clone().map(|code| (code, region.probability));
        let name = own.or_else(|| marked.name.map(|name| (name.code_or_finding(), Some(name.probability))));
        let name = name.unwrap_or_else(|| (UNKNOWN_ANOMALY.to_owned(), None));
        let known = known(&name.0, region.rect, catalogue);
        let rank = rank(known.severity);
        if rank > worst && known.disposition.is_some() {
            worst = rank;
            findings.proposed = known.disposition;
        }
        findings.defects.push(defect(name, known, region, marked));
    }
    findings
}

fn known(code: &str, rect: Rect, catalogue: Option<&dyn Catalogue>) -> KnownDefect {
    let known = catalogue.and_then(|catalogue| catalogue.look_up(code, rect));
    known.unwrap_or_else(|| KnownDefect {
        label: code.replace('_', " "),
        severity: Severity::Unknown,
        disposition: None,
    })
}

const fn rank(severity: Severity) -> u8 {
    match severity {
        Severity::Unknown => 1,
        Severity::Minor => 2,
        Severity::Major => 3,
        Severity::Critical => 4,
    }
}

fn defect(
    (code, probability): (String, Option<f64>),
    known: KnownDefect,
    region: &Region,
    marked: Marked<'_>,
) -> Defect {
    let strength = f64::from(region.score) / f64::from(marked.threshold);
    Defect {
        code,
        label: known.label,
        probability,
        severity: known.severity,
        // A threshold of zero means that anything at all is strange.
        strength: if strength.is_finite() { strength } else { f64::from(f32::MAX) },
        found_by: marked.found_by,
        bbox: region.rect,
        area_px: region.area_px,
        zone: zone(region.rect, region.area_px, marked.size).to_owned(),
    }
}

/// Returns in words where the middle of `rect` lies in a frame of size `size`: one of nine, or `whole picture` when it covers more than half
/// of it, and `area_px` pixels in it, more than a quarter, are marked: what branches far may still be thin.
pub fn zone(rect: Rect, area_px: u64, size: Size) -> &'static str {
    if rect.area_px() * 2 > size.area_px() as u64 && area_px * 4 > size.area_px() as u64 {
        return "whole picture";
    }
    let third = |start: u32, length: u32, of: u32| {
        let doubled_middle = 2 * u64::from(start) + u64::from(length);
        (doubled_middle * 3 / (2 * u64::from(of.max(1)))).min(2) as usize
    };
    let zones =
        [["top left", "top", "top right"], ["left", "centre", "right"], ["bottom left", "bottom", "bottom right"]];
    zones[third(rect.y, rect.height, size.height_px)][third(rect.x, rect.width, size.width_px)]
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Steel;

    impl Catalogue for Steel {
        fn look_up(&self, code: &str, _rect: Rect) -> Option<KnownDefect> {
            let (severity, disposition) = match code {
                "stain" => (Severity::Minor, Some(Disposition::Rework)),
                "crack" => (Severity::Critical, Some(Disposition::Scrap)),
                _ => return None,
            };
            Some(KnownDefect { label: format!("a {code}"), severity, disposition })
        }
    }

    fn region(code: Option<&str>, x: u32) -> Region {
        let rect = Rect { x, y: 0, width: 10, height: 10 };
        Region { rect, score: 3.0, area_px: 60, code: code.map(str::to_owned), probability: None }
    }

    fn marked(regions: &[Region], threshold: f32) -> Marked<'_> {
        Marked { regions, threshold, size: Size::new(100, 100), name: None, found_by: FoundBy::Gate }
    }

    fn names(findings: &Findings) -> Vec<[&str; 2]> {
        findings.defects.iter().map(|defect| [defect.code.as_str(), defect.label.as_str()]).collect()
    }

    #[test]
    fn names_defects_and_proposes_for_the_worst() {
        let regions = [region(Some("stain"), 0), region(Some("crack"), 45), region(None, 90)];
        let findings = findings(marked(&regions, 1.5), Some(&Steel));
        assert_eq!(findings.proposed, Some(Disposition::Scrap));
        assert_eq!(
            names(&findings),
            [["stain", "a stain"], ["crack", "a crack"], ["unknown_anomaly", "unknown anomaly"]]
        );
        let zones: Vec<_> = findings.defects.iter().map(|defect| defect.zone.as_str()).collect();
        assert_eq!(zones, ["top left", "top", "top right"]);
        assert!((findings.defects[0].strength - 2.0).abs() < 1e-9);
    }

    fn diagnosed(finding: &str) -> Diagnosis {
        Diagnosis {
            by: "steel".to_owned(),
            subject: None,
            finding: finding.to_owned(),
            code: None,
            is_good: false,
            probability: 0.9,
            alternatives: Vec::new(),
            familiarity: None,
            shows: None,
            extent: None,
            language_model: None,
        }
    }

    #[test]
    fn what_the_gate_cannot_name_is_called_as_trained_eyes_call_it() {
        let named = |code: Option<&str>, finding: &str| {
            let name = Diagnosis { code: code.map(str::to_owned), ..diagnosed(finding) };
            let regions = [region(Some("stain"), 0), region(None, 45)];
            let found = findings(Marked { name: Some(&name), ..marked(&regions, 1.0) }, Some(&Steel));
            names(&found).into_iter().flatten().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(named(Some("crack"), "long crack"), ["stain", "a stain", "crack", "a crack"]);
        assert_eq!(named(None, "leaf rust"), ["stain", "a stain", "leaf_rust", "leaf rust"]);
    }

    #[test]
    fn a_name_by_eyes_comes_with_its_probability() {
        let name = diagnosed("crack");
        let seen_alone = Region { probability: Some(0.75), ..region(Some("dent"), 70) };
        let regions = [region(Some("stain"), 0), region(None, 45), seen_alone];
        let found = findings(Marked { name: Some(&name), ..marked(&regions, 1.0) }, None);
        let probabilities: Vec<_> = found.defects.iter().map(|defect| defect.probability).collect();
        assert_eq!(probabilities, [None, Some(0.9), Some(0.75)]);
    }

    #[test]
    fn what_does_not_stand_is_taken_back() {
        let name = Diagnosis { code: Some("crack".to_owned()), ..diagnosed("long crack") };
        let regions = [region(None, 0), region(Some("stain"), 45)];
        let found_by = |found_by| Marked { name: Some(&name), found_by, ..marked(&regions, 1.0) };
        let mut by_gate = findings(found_by(FoundBy::Gate), Some(&Steel));
        by_gate.retract(&name, None);
        assert_eq!(names(&by_gate), [["unknown_anomaly", "unknown anomaly"], ["stain", "a stain"]]);
        assert_eq!(by_gate.defects[0].probability, None);
        let twice = [region(Some("crack"), 0), region(Some("crack"), 45)];
        let mut by_places = findings(marked(&twice, 1.0), Some(&Steel));
        by_places.retract(&name, Some(twice[1].rect));
        assert_eq!(names(&by_places), [["crack", "a crack"], ["unknown_anomaly", "unknown anomaly"]]);
        let mut by_eyes = findings(found_by(FoundBy::Eyes), Some(&Steel));
        by_eyes.retract(&name, None);
        assert_eq!(by_eyes, Findings::default());
    }

    #[test]
    fn strength_stays_a_number() {
        let findings = findings(marked(&[region(None, 0)], 0.0), None);
        assert!(findings.defects[0].strength.is_finite());
    }

    #[test]
    fn places_in_words() {
        let rect = |x, y, width, height| Rect { x, y, width, height };
        let cases = [
            (rect(0, 0, 10, 10), "top left"),
            (rect(45, 45, 10, 10), "centre"),
            (rect(90, 90, 10, 10), "bottom right"),
            (rect(0, 40, 10, 20), "left"),
            (rect(0, 0, 90, 90), "whole picture"),
            (rect(100, 100, 0, 0), "bottom right"),
        ];
        for (rect, expected) in cases {
            assert_eq!(zone(rect, rect.area_px(), Size::new(100, 100)), expected, "{rect:?}");
        }
        assert_eq!(zone(rect(0, 0, 90, 90), 2000, Size::new(100, 100)), "centre", "a thin branch");
    }
}
