use std::path::Path;

use cameras::{CameraError, FrameId};
use models::{
    Encoder, ModelError,
    hash::{hexadecimal, sha256},
    head::describe,
};
use serde::{Deserialize, Serialize};

use super::{HeadError, LeftOut, Parts, Picture, Reason};
use crate::journal::{self, Journal};

/// Says how a picture becomes a description, beside the encoder; changes when [`describe`] does.
const RECIPE: &str = "means of all maps";

/// One description as the journal keeps it, see [`journal::encoded`].
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    description: String,
}

impl Kept {
    fn new(description: &[f32]) -> Self {
        Self { description: journal::encoded(description) }
    }

    /// `None` when a line was damaged.
    fn into_description(self) -> Option<Vec<f32>> {
        let values = journal::decoded(&self.description)?;
        (!values.is_empty() && values.iter().all(|value| value.is_finite())).then_some(values)
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
            tracing::info!(known = journal.len(), "going on with a training that was interrupted");
        }
        Ok(Self { encoder, journal })
    }

    /// Returns the description of each picture of `parts`; a picture that cannot be read moves to those that are left out.
    pub(super) fn describe_all(
        &mut self,
        parts: &mut Parts,
        watch: &mut dyn FnMut(usize, usize),
    ) -> Result<Vec<Vec<f32>>, HeadError> {
        let pictures = std::mem::take(&mut parts.pictures);
        let total = pictures.len();
        let mut descriptions = Vec::with_capacity(total);
        for (index, (picture, digest)) in pictures.into_iter().enumerate() {
            match self.describe(&picture, &digest)? {
                Ok(description) => {
                    descriptions.push(description);
                    parts.pictures.push((picture, digest));
                }
                Err(error) => {
                    parts.left_out.push(LeftOut { path: picture.path, reason: Reason::Unreadable(error.to_string()) });
                }
            }
            watch(index + 1, total);
        }
        Ok(descriptions)
    }

    /// `Err` inside when the picture alone cannot be read.
    fn describe(&mut self, picture: &Picture, digest: &[u8; 32]) -> Result<Result<Vec<f32>, CameraError>, HeadError> {
        let key = sha256([&hexadecimal(digest), self.encoder.identity().as_str(), RECIPE].join("\n"));
        if let Some(description) = self.journal.take(&key).and_then(Kept::into_description) {
            return Ok(Ok(description));
        }
        let frame = match cameras::decode_file(&picture.path, FrameId { source: "head".into(), seq: 0 }) {
            Ok(frame) => frame,
            Err(error) => return Ok(Err(error)),
        };
        let description = describe(&self.encoder.encode(&frame).map_err(|error| in_picture(&error, &picture.path))?);
        let kept = self.journal.add(key, &Kept::new(&description));
        kept.map_err(HeadError::io(self.journal.path()))?;
        Ok(Ok(description))
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
pub(super) fn in_picture(error: &ModelError, path: &Path) -> HeadError {
    HeadError::unfit(path, "a picture that the encoder takes", error.to_string())
}
