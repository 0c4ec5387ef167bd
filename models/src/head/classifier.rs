use cameras::Frame;

use crate::{Encoder, ModelError};

use super::{Head, describe};

/// An encoder with a head for its features. Owned by one thread.
#[derive(Debug)]
pub struct Classifier {
    encoder: Encoder,
    head: Head,
}

impl Classifier {
    /// Returns the classifier of `head` on the features of `encoder`.
    ///
    /// # Errors
    /// [`ModelError::Mismatch`] when the head was fitted to features of another encoder, other weights or another resolution.
    pub fn new(encoder: Encoder, head: Head) -> Result<Self, ModelError> {
        let found = encoder.identity();
        if found != head.origin().encoder {
            return Err(ModelError::mismatch("encoder of the head", &head.origin().encoder, found));
        }
        Ok(Self { encoder, head })
    }

    /// Returns the head.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    /// Returns the probability of each class for a frame, at the encoder's resolution whatever its size, in the order of
    /// [`super::Origin::labels`]; their sum is 1.
    ///
    /// # Errors
    /// When the encoder fails or its features do not fit the head.
    pub fn probabilities(&mut self, frame: &Frame) -> Result<Vec<f64>, ModelError> {
        self.head.probabilities(&describe(&self.encoder.encode(frame)?))
    }
}
