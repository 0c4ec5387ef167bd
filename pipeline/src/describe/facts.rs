//! What was measured about a suspect frame, as text: the only numbers, places and names that a description may hold.

use std::time::Duration;

use models::GateReading;

use crate::{findings::UNKNOWN_ANOMALY, report::Defect, stage::Suspect};

/// More places than these are counted, not listed.
const OTHER_ZONES_MAX: usize = 2;

/// What may be said about one frame.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    /// Marked areas.
    pub(super) count: usize,
    /// The strongest area; `None` when the whole picture is strange without a place.
    pub(super) main: Option<Area>,
    /// Zones of the others, without the strongest one's.
    pub(super) other_zones: Vec<String>,
    /// Score over threshold with one decimal; `None` where a quotient says nothing.
    pub(super) times_limit: Option<String>,
    /// Percentage of good parts that score so high, at most; `None` without calibration.
    pub(super) good_percent: Option<String>,
    /// Until the verdict is due.
    pub(super) time_left: Option<Duration>,
}

/// The strongest area.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Area {
    /// Its name; `None` when nobody has one.
    pub(super) label: Option<String>,
    /// As in the report.
    pub(super) zone: String,
    /// `W x H px`.
    pub(super) size: String,
    /// Share of the picture, for example `1.2 %`.
    pub(super) share: String,
}

impl Facts {
    /// Returns the facts of one frame.
    pub(super) fn of(suspect: &Suspect<'_>, reading: &GateReading) -> Self {
        let main = suspect.defects.first();
        let mut other_zones: Vec<String> = Vec::new();
        for defect in suspect.defects.iter().skip(1) {
            let is_new = !other_zones.contains(&defect.zone) && main.is_some_and(|main| main.zone != defect.zone);
            if is_new && other_zones.len() < OTHER_ZONES_MAX {
                other_zones.push(defect.zone.clone());
            }
        }
        let times = f64::from(reading.score) / f64::from(reading.threshold);
        Self {
            count: suspect.defects.len(),
            main: main.map(|defect| area(defect, suspect.frame.size().area_px())),
            other_zones,
            times_limit: (reading.threshold > 0.0 && times.is_finite() && times < 1000.0)
                .then(|| format!("{times:.1}")),
            good_percent: reading.p_value.map(percent),
            time_left: suspect.time_left,
        }
    }

    /// Returns what the language model is told.
    pub(super) fn prompt(&self) -> String {
        let mut lines = vec![format!("Marked areas: {}", self.count)];
        if let Some(Area { label, zone, size, share }) = &self.main {
            lines.push(format!("Strongest area: {zone}, {size}, {share} of the picture"));
            lines.push(format!("Suspected type: {}", label.as_deref().unwrap_or("unknown")));
        }
        lines.extend(self.times_limit.as_ref().map(|times| format!("Score: {times} times the limit")));
        lines.push("Write the note.".to_owned());
        lines.join("\n")
    }

    /// Returns every number that was measured, as it may be written.
    pub(super) fn numbers(&self) -> Vec<String> {
        let area = self.main.iter().flat_map(|area| [area.size.as_str(), area.share.as_str()]);
        let scores = self.times_limit.iter().chain(&self.good_percent).map(String::as_str);
        let count = self.count.to_string();
        area.chain(scores).chain([count.as_str()]).flat_map(super::check::numbers).collect()
    }
}

fn area(defect: &Defect, frame_px: usize) -> Area {
    let share = defect.area_px as f64 / frame_px.max(1) as f64;
    Area {
        label: (defect.code != UNKNOWN_ANOMALY).then(|| defect.label.clone()),
        zone: defect.zone.clone(),
        size: format!("{} x {} px", defect.bbox.width, defect.bbox.height),
        share: if share < 0.0005 { "less than 0.1 %".to_owned() } else { percent(share) },
    }
}

fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}
