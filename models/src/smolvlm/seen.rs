use std::{collections::VecDeque, sync::Arc};

use sha2::{Digest as _, Sha256};

use crate::{ModelError, generate::FrameFeatures};

use super::VisionEncoder;

/// The features of the frames that were seen last: a reference picture beside every part is encoded once.
#[derive(Debug)]
pub(super) struct SeenFrames {
    /// Latest use last.
    kept: VecDeque<Arc<FrameFeatures>>,
    capacity: usize,
}

impl SeenFrames {
    /// Returns a memory of at most `capacity` frames.
    pub(super) fn new(capacity: usize) -> Self {
        Self { kept: VecDeque::with_capacity(capacity), capacity }
    }

    /// Returns the features of each of `frames`; those that are not kept are encoded together.
    ///
    /// # Errors
    /// When encoding fails; nothing is kept then.
    pub(super) fn features(
        &mut self,
        frames: &[&[u8]],
        encoder: &mut VisionEncoder,
    ) -> Result<Vec<Arc<FrameFeatures>>, ModelError> {
        let keys: Vec<u128> = frames.iter().map(|frame| key(frame)).collect();
        let mut fresh: Vec<usize> = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            if self.find(*key).is_none() && !fresh.iter().any(|&other| keys[other] == *key) {
                fresh.push(index);
            }
        }
        let mut encoded = Self::encode(frames, &fresh, encoder)?.into_iter();
        let fresh: Vec<_> = fresh
            .iter()
            .zip(&mut encoded)
            .map(|(&index, rows)| Arc::new(FrameFeatures { key: keys[index], rows }))
            .collect();
        let found: Vec<_> = keys
            .iter()
            .filter_map(|key| fresh.iter().find(|features| features.key == *key).cloned().or_else(|| self.find(*key)))
            .collect();
        for features in &found {
            self.keep(features);
        }
        Ok(found)
    }

    fn encode(frames: &[&[u8]], fresh: &[usize], encoder: &mut VisionEncoder) -> Result<Vec<Vec<f32>>, ModelError> {
        if fresh.is_empty() {
            return Ok(Vec::new());
        }
        let pixels: Vec<&[u8]> = fresh.iter().map(|&index| frames[index]).collect();
        let rows = encoder.encode(&pixels.concat())?;
        Ok(rows.chunks_exact(rows.len() / fresh.len()).map(<[f32]>::to_vec).collect())
    }

    fn find(&self, key: u128) -> Option<Arc<FrameFeatures>> {
        self.kept.iter().find(|features| features.key == key).cloned()
    }

    fn keep(&mut self, features: &Arc<FrameFeatures>) {
        self.kept.retain(|kept| kept.key != features.key);
        self.kept.push_back(Arc::clone(features));
        if self.kept.len() > self.capacity {
            self.kept.pop_front();
        }
    }
}

/// Returns the first half of the SHA-256 of a frame's bytes.
fn key(frame: &[u8]) -> u128 {
    let hash = Sha256::digest(frame);
    let (halves, _) = hash.as_chunks::<16>();
    u128::from_le_bytes(halves[0])
}
