use std::{
    path::Path,
    time::{Duration, Instant},
};

use cameras::CameraError;
use models::{Encoder, ModelError, hash::sha256, head::describe};
use serde::{Deserialize, Serialize};

use super::{HeadError, Parts, Picture};
use crate::journal::{self, Journal};

/// What is known while a run is not complete, in its output folder.
pub(crate) const JOURNAL: &str = "described.jsonl";
/// Says how a picture becomes a description, beside the encoder; changes when [`describe`] does.
const RECIPE: &str = "means of all maps";

/// One description as the journal keeps it, see [`journal::encoded`].
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    description: String,
    latency_micros: u64,
}

/// What the head sees of a picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Described {
    /// See [`describe`].
    pub(super) values: Vec<f32>,
    /// From the decoded frame to the values.
    pub(super) latency: Duration,
}

impl Kept {
    fn new(Described { values, latency }: &Described) -> Self {
        Self { description: journal::encoded(values), latency_micros: latency.as_micros() as u64 }
    }

    /// `None` when a line was damaged.
    fn into_described(self) -> Option<Described> {
        let values = journal::decoded(&self.description)?;
        let is_whole = !values.is_empty() && values.iter().all(|value| value.is_finite());
        is_whole.then(|| Described { values, latency: Duration::from_micros(self.latency_micros) })
    }
}

/// Descriptions of pictures, each computed once: what an interrupted run has found out is taken from its journal.
#[derive(Debug)]
pub(super) struct Describer<'a> {
    encoder: &'a mut Encoder,
    journal: Journal<Kept>,
}

impl<'a> Describer<'a> {
    /// Returns a describer that keeps its journal at `path`.
    pub(super) fn open(encoder: &'a mut Encoder, path: &Path) -> Result<Self, HeadError> {
        let journal = Journal::open(path).map_err(HeadError::io(path))?;
        if journal.len() > 0 {
            tracing::info!(known = journal.len(), "going on with a run that was interrupted");
        }
        Ok(Self { encoder, journal })
    }

    /// Returns the description of each picture of `parts`; a picture that cannot be read moves to those that are left out.
    pub(super) fn describe_all(
        &mut self,
        parts: &mut Parts,
        watch: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Described>, HeadError> {
        let (mut done, total) = (0, parts.pictures.len());
        parts.find_in_each(|picture, digest| {
            let found = self.describe(picture, digest);
            done += 1;
            watch(done, total);
            found
        })
    }

    /// `Err` inside when the picture alone cannot be read.
    fn describe(&mut self, picture: &Picture, digest: &[u8; 32]) -> Result<Result<Described, CameraError>, HeadError> {
        let key = sha256([picture.content(digest).as_str(), self.encoder.identity().as_str(), RECIPE].join("\n"));
        if let Some(description) = self.journal.take(&key).and_then(Kept::into_described) {
            return Ok(Ok(description));
        }
        let frame = match picture.open("head") {
            Ok(frame) => frame,
            Err(error) => return Ok(Err(error)),
        };
        let started = Instant::now();
        let values = describe(&self.encoder.encode(&frame).map_err(|error| in_picture(&error, &picture.path))?);
        let described = Described { values, latency: started.elapsed() };
        let kept = self.journal.add(key, &Kept::new(&described));
        kept.map_err(HeadError::io(self.journal.path()))?;
        Ok(Ok(described))
    }

    /// Returns the identity of the encoder.
    pub(super) fn encoder_identity(&self) -> String {
        self.encoder.identity()
    }

    /// Removes the journal.
    pub(super) fn close(self) -> Result<(), HeadError> {
        let path = self.journal.path().to_owned();
        self.journal.close().map_err(HeadError::io(&path))
    }
}

/// Returns the error with the picture that it arose at.
pub(crate) fn in_picture(error: &ModelError, path: &Path) -> HeadError {
    HeadError::unfit(path, "a picture that the encoder takes", error.to_string())
}
