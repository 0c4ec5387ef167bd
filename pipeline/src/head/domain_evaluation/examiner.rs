use std::{path::Path, time::Duration};

use cameras::{CameraError, Frame, Size};
use models::{domain::Opinion, hash::sha256};
use serde::{Deserialize, Serialize};

use super::examinee::{Ablated, Asked, Examinee, Found, Spoken, blank};
use crate::{
    eval::program,
    head::{HeadError, Parts},
    journal::Journal,
};

/// What errors call a picture without anything on it.
const BLANK: &str = "a grey picture";

/// One [`Found`] as the journal keeps it.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// As bits, since a number that was read from text may be another.
    probabilities: Vec<u64>,
    familiarity: u64,
    strangeness: f32,
    latency_micros: u64,
    spoken: Option<KeptSpoken>,
    ablated: Option<Ablated>,
}

#[derive(Debug, Serialize, Deserialize)]
struct KeptSpoken {
    named: Option<usize>,
    latency_micros: u64,
}

impl Kept {
    fn new(Found { opinion, latency, spoken, ablated }: &Found) -> Self {
        let micros = |latency: Duration| latency.as_micros() as u64;
        Self {
            probabilities: opinion.probabilities.iter().map(|probability| probability.to_bits()).collect(),
            familiarity: opinion.familiarity.to_bits(),
            strangeness: opinion.strangeness,
            latency_micros: micros(*latency),
            spoken: spoken.map(|spoken| KeptSpoken { named: spoken.named, latency_micros: micros(spoken.latency) }),
            ablated: *ablated,
        }
    }

    /// `None` when a line was damaged; a domain has `n_labels`.
    fn into_found(self, n_labels: usize) -> Option<Found> {
        let probabilities: Vec<f64> = self.probabilities.into_iter().map(f64::from_bits).collect();
        let familiarity = f64::from_bits(self.familiarity);
        let spoken = self.spoken.as_ref().and_then(|spoken| spoken.named);
        let ablated = self.ablated.map(|ablated| [ablated.facts_only, ablated.both]);
        let is_whole = probabilities.len() == n_labels
            && probabilities.iter().chain([&familiarity]).all(|share| (0.0..=1.0).contains(share))
            && ablated.into_iter().flatten().chain([spoken]).flatten().all(|named| named < n_labels);
        let spoken = self.spoken.map(|KeptSpoken { named, latency_micros }| Spoken {
            named,
            latency: Duration::from_micros(latency_micros),
        });
        is_whole.then(|| Found {
            opinion: Opinion { probabilities, strangeness: self.strangeness, familiarity },
            latency: Duration::from_micros(self.latency_micros),
            spoken,
            ablated: self.ablated,
        })
    }
}

/// Looks at each picture once: what an interrupted evaluation has found is taken from its journal.
#[derive(Debug)]
pub(super) struct Examiner<'a, 'b> {
    examinee: &'a mut Examinee<'b>,
    journal: Journal<Kept>,
    program: String,
}

impl<'a, 'b> Examiner<'a, 'b> {
    /// Returns an examiner that keeps its journal at `path`.
    pub(super) fn open(examinee: &'a mut Examinee<'b>, path: &Path) -> Result<Self, HeadError> {
        let journal = Journal::open(path).map_err(HeadError::io(path))?;
        if journal.len() > 0 {
            tracing::info!(known = journal.len(), "going on with an evaluation that was interrupted");
        }
        Ok(Self { examinee, journal, program: program() })
    }

    /// Returns what is found in each picture of `parts`; one that cannot be read is left out. `watch` is called after each.
    pub(super) fn find_in_each(
        &mut self,
        parts: &mut Parts,
        asked: Asked,
        watch: &mut dyn FnMut(),
    ) -> Result<Vec<Found>, HeadError> {
        parts.find_in_each(|picture, digest| {
            let found = self.found(&picture.content(digest), (&picture.path, asked), || picture.open("eval"));
            watch();
            found
        })
    }

    /// Returns the label that the language model names in a grey picture; `None` where it names none or does not look.
    pub(super) fn named_in_blank(&mut self) -> Result<Option<usize>, HeadError> {
        if self.examinee.author.is_none() {
            return Ok(None);
        }
        let size = self.examinee.eyes.input_size(Size::new(256, 256));
        let found = self.found(BLANK, (Path::new(BLANK), Asked::Everyone), || Ok(blank(size)))?;
        Ok(found.ok().and_then(|found| found.spoken).and_then(|spoken| spoken.named))
    }

    /// Returns what is found in the picture at `path`, of which `content` tells all; `Err` inside when it cannot be read.
    fn found(
        &mut self,
        content: &str,
        (path, asked): (&Path, Asked),
        frame: impl FnOnce() -> Result<Frame, CameraError>,
    ) -> Result<Result<Found, CameraError>, HeadError> {
        let key = self.key(content, asked);
        let n_labels = self.examinee.domain.labels().len();
        if let Some(found) = self.journal.take(&key).and_then(|kept| kept.into_found(n_labels)) {
            return Ok(Ok(found));
        }
        let frame = match frame() {
            Ok(frame) => frame,
            Err(error) => return Ok(Err(error)),
        };
        let found = self.examinee.look(path, &frame, asked)?;
        self.journal.add(key, &Kept::new(&found)).map_err(HeadError::io(self.journal.path()))?;
        Ok(Ok(found))
    }

    fn key(&self, content: &str, asked: Asked) -> String {
        let Examinee { domain, models, author, .. } = &*self.examinee;
        let who = match asked {
            Asked::Everyone if author.is_some() => "with language model",
            Asked::WithAblations if author.is_some() => "with ablations",
            Asked::Head | Asked::Everyone | Asked::WithAblations => "head",
        };
        let mut parts = vec![self.program.as_str(), domain.sha256(), who, content];
        parts.extend(models.iter().map(|model| model.sha256.as_str()));
        sha256(parts.join("\n"))
    }

    /// Removes the journal.
    pub(super) fn close(self) -> Result<(), HeadError> {
        let path = self.journal.path().to_owned();
        self.journal.close().map_err(HeadError::io(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(named: Option<usize>) -> Found {
        let opinion = Opinion { probabilities: vec![1.0 / 3.0, 2.0 / 3.0], strangeness: 1.3, familiarity: 0.1 + 0.2 };
        let [latency, look] = [17, 180].map(Duration::from_millis);
        let ablated = Some(Ablated { facts_only: named, both: None });
        Found { opinion, latency, spoken: Some(Spoken { named, latency: look }), ablated }
    }

    fn read_again(found: &Found, edit: impl FnOnce(String) -> String) -> Option<Found> {
        let line = edit(serde_json::to_string(&Kept::new(found)).unwrap());
        serde_json::from_str::<Kept>(&line).ok()?.into_found(2)
    }

    #[test]
    fn what_is_kept_comes_back_to_the_last_bit() {
        for named in [Some(1), None] {
            assert_eq!(read_again(&found(named), |line| line), Some(found(named)));
        }
        let head_alone = Found { spoken: None, ablated: None, ..found(None) };
        assert_eq!(read_again(&head_alone, |line| line), Some(head_alone));
    }

    #[test]
    fn a_damaged_line_is_looked_at_again() {
        let above_one = 2.0_f64.to_bits().to_string();
        let third = (1.0_f64 / 3.0).to_bits().to_string();
        assert_eq!(read_again(&found(None), |line| line.replace(&third, &above_one)), None);
        assert_eq!(read_again(&found(None), |line| line.replace(&format!("{third},"), "")), None);
        assert_eq!(read_again(&found(Some(7)), |line| line), None);
    }
}
