//! One report as the page shows it.

use std::path::Path;

use super::{format, picture};
use crate::{
    home::UNNAMED,
    report::{Description, Diagnosis, Evidence, EvidenceKind, FoundBy, Report, Severity, Verdict},
};

/// Longest side of a picture inside the page.
const PICTURE_SIDE_PX: u32 = 560;

/// Found defects that a card lists; the picture marks all of them.
const MAX_DEFECTS: usize = 5;

/// Where evidence lies and where the page will.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    pub(super) folder: &'a Path,
    pub(super) page: &'a Path,
}

impl Files<'_> {
    /// Returns the address of `item` as seen from the page; `None` when the page lies elsewhere.
    fn link(&self, item: &Evidence) -> Option<String> {
        let below = self.page.strip_prefix(self.folder).ok()?;
        let up = "../".repeat(below.components().count() - 1);
        Some(format!("{up}{}", item.path))
    }
}

/// A picture in the page, and the file that it stands for.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) data_uri: String,
    pub(super) link: Option<String>,
}

/// One found defect.
#[derive(Debug)]
pub(super) struct DefectLine {
    pub(super) label: String,
    pub(super) severity: &'static str,
    pub(super) detail: String,
}

/// One report in full.
#[derive(Debug)]
pub(super) struct Card {
    pub(super) id: String,
    pub(super) verdict: Verdict,
    pub(super) sign: &'static str,
    pub(super) name: String,
    pub(super) place: String,
    pub(super) reason: String,
    pub(super) facts: Vec<(&'static str, String)>,
    /// Strongest first.
    pub(super) defects: Vec<DefectLine>,
    pub(super) defects_left_out: usize,
    pub(super) description: Option<Description>,
    pub(super) original: Option<Shown>,
    pub(super) overlay: Option<Shown>,
    /// What is marked in it.
    pub(super) marks: &'static str,
}

impl Card {
    pub(super) fn of(report: &Report, files: &Files<'_>) -> Self {
        let show = |kind| {
            let item = report.evidence.iter().find(|item| item.kind == kind)?;
            let data_uri = picture::data_uri(&files.folder.join(&item.path), PICTURE_SIDE_PX)?;
            Some(Shown { data_uri, link: files.link(item) })
        };
        Self {
            id: report.report_id.to_string(),
            verdict: report.verdict,
            sign: format::sign(report.verdict),
            name: name_of(report),
            place: place_of(report),
            reason: report.reason.clone(),
            facts: facts(report),
            defects: report.defects.iter().take(MAX_DEFECTS).map(defect_line).collect(),
            defects_left_out: report.defects.len().saturating_sub(MAX_DEFECTS),
            description: report.description.clone(),
            original: show(EvidenceKind::Original),
            overlay: show(EvidenceKind::Overlay),
            marks: match report.defects.first().map(|defect| defect.found_by) {
                Some(FoundBy::Eyes) => "What speaks for it",
                Some(FoundBy::Gate) | None => "What looks strange",
            },
        }
    }

    /// Returns roughly how many bytes the pictures take in the page.
    pub(super) fn picture_bytes(&self) -> usize {
        [&self.original, &self.overlay].into_iter().flatten().map(|shown| shown.data_uri.len()).sum()
    }
}

/// Returns the file's name, or camera and frame where there is no file.
pub(super) fn name_of(report: &Report) -> String {
    let source = &report.source;
    source.path.as_deref().map_or_else(|| format!("{} frame {}", source.camera, source.frame), format::file_name)
}

/// Returns the station with the number of its picture; without a station, the file as it was named.
pub(super) fn place_of(report: &Report) -> String {
    match &report.source.path {
        Some(path) if report.station == UNNAMED => path.clone(),
        _ => format!("{} #{}", report.station, report.seq),
    }
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(score) = &report.score {
        let ratio = if score.threshold > 0.0 {
            format!(" ({}× the threshold)", format::number(score.raw / score.threshold))
        } else {
            String::new()
        };
        facts.push(("Score", format!("{}{ratio}", format::number(score.raw))));
        facts.extend(score.calibrated_p.map(|p| ("p-value of a good part", format::number(p))));
    }
    facts.extend(report.diagnosis.iter().flat_map(diagnosis_facts));
    if report.source.width > 0 {
        facts.push(("Picture", format!("{} × {} px", report.source.width, report.source.height)));
    }
    facts.push(("Proposed", word(report.disposition)));
    facts.push(("Captured", format!("{} UTC", format::clock(report.time.captured))));
    facts.push(("Took", format::millis(report.timing_ms.total)));
    facts
}

fn diagnosis_facts(diagnosis: &Diagnosis) -> Vec<(&'static str, String)> {
    let familiarity = diagnosis.familiarity.map(|p| ("Familiarity", format::number(p)));
    if diagnosis.shows.is_some() {
        // A name would read as one that may be right.
        return familiarity.into_iter().collect();
    }
    let mut facts = vec![("Looks like", format!("{} ({})", diagnosis.name(), format::share(diagnosis.probability)))];
    let others =
        diagnosis.alternatives.iter().map(|other| format!("{} ({})", other.name, format::share(other.probability)));
    let others: Vec<String> = others.collect();
    if !others.is_empty() {
        facts.push(("Or like", others.join(", ")));
    }
    facts.extend(diagnosis.extent.map(|extent| {
        ("Discoloured", format!("{} of the leaf, {} by this leaf alone", extent.share(), extent.severity.name()))
    }));
    facts.extend(diagnosis.language_model.clone().map(|name| ("Language model sees", name)));
    facts.extend(familiarity);
    facts
}

/// Returns the name that an enum has in JSON, with spaces.
fn word(value: impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name.replace('_', " "),
        _ => String::new(),
    }
}

fn defect_line(defect: &crate::report::Defect) -> DefectLine {
    let severity = match defect.severity {
        Severity::Minor => "minor",
        Severity::Major => "major",
        Severity::Critical => "critical",
        Severity::Unknown => "",
    };
    let strength = match defect.found_by {
        FoundBy::Gate => {
            let sure = defect.probability.map(|probability| format!("{} sure, ", format::share(probability)));
            format!("{}{}× threshold, ", sure.unwrap_or_default(), format::number(defect.strength))
        }
        // All that eyes mark is of one diagnosis, whose probability stands below, once.
        FoundBy::Eyes => String::new(),
    };
    let bbox = defect.bbox;
    let detail = format!("{}, {strength}{} × {} px", defect.zone, bbox.width, bbox.height);
    DefectLine { label: defect.label.clone(), severity, detail }
}
