use std::path::Path;

use cameras::{Frame, Size};
use image::{RgbImage, imageops::flip_vertical};
use ort::session::Session;

use crate::{
    FeatureMap, ModelError,
    domain::Views,
    error::check_finite,
    ort_engine::{OrtEngine, runtime},
    torch_pickle,
};

use super::{
    EncoderConfig, check_resolution, feature_map,
    folding::{Convolutions, Published},
    network::INPUT,
    scaling::{input, own_input_size, scaled},
    sight::{self, Readers},
};

/// What the whole network sees of one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Sight {
    /// `[5136]`: means and deviations of every channel over the frame, what heads judge by.
    pub description: Vec<f32>,
    /// The same of the frame upside down; `None` of eyes that look once.
    pub upside_down: Option<Vec<f32>>,
    /// `[rows, cols, 3968]`, one cell for 32 x 32 pixels of input: textures of its four quarters, then shapes.
    pub cells: FeatureMap,
    /// `[rows * cols, hidden]`: the cells as a language model reads them; empty without a connector.
    pub tokens: Vec<f32>,
    /// `[2 * rows, 2 * cols, labels]`, one cell for 16 x 16 pixels of input: what each adds to each logit of the eyes' head, whose
    /// mean over all cells is the logit less its bias. `None` of eyes without a head.
    pub activations: Option<FeatureMap>,
}

/// The whole vision network of one domain, for its head and its language adapter. Owned by one thread.
#[derive(Debug)]
pub struct Eyes {
    session: Session,
    resolution_px: u32,
    has_tokens: bool,
    has_activations: bool,
    views: Views,
}

impl Eyes {
    /// Returns the network with these weights.
    ///
    /// # Errors
    /// When a weight is missing, the resolution is out of range, or ONNX Runtime refuses.
    pub(crate) fn open(
        engine: &OrtEngine,
        weights: &dyn Convolutions,
        readers: Readers<'_>,
        config: EncoderConfig,
    ) -> Result<Self, ModelError> {
        check_resolution(config.resolution_px)?;
        let session = engine.session_from_bytes(&sight::build(weights, readers)?, config.session)?;
        let (has_tokens, has_activations) = (readers.connector.is_some(), readers.head.is_some());
        let resolution_px = config.resolution_px;
        Ok(Self { session, resolution_px, has_tokens, has_activations, views: Views::Plain })
    }

    /// Returns the eyes that look at pictures in these ways.
    pub(crate) fn looking(self, views: Views) -> Self {
        Self { views, ..self }
    }

    /// Returns the network with the published weights in the file `weights`.
    ///
    /// # Errors
    /// When the file is not that network, or as [`Self::open`].
    pub(crate) fn open_published(
        engine: &OrtEngine,
        weights: &Path,
        readers: Readers<'_>,
        config: EncoderConfig,
    ) -> Result<Self, ModelError> {
        let state = torch_pickle::read(weights)?;
        Self::open(engine, &Published { state: &state, path: weights }, readers, config)
    }

    /// Returns the size that a frame is scaled to: about the resolution squared, its aspect kept, in steps of 32 pixels.
    pub fn input_size(&self, frame: Size) -> Size {
        own_input_size(self.resolution_px, frame)
    }

    /// Returns what is seen of one frame.
    ///
    /// # Errors
    /// When ONNX Runtime fails or a number is not finite.
    pub fn see(&mut self, frame: &Frame) -> Result<Sight, ModelError> {
        self.see_scaled(scaled(frame, self.input_size(frame.size())))
    }

    /// Returns what is seen of a picture whose size [`Self::input_size`] would keep: sides are multiples of 32.
    ///
    /// # Errors
    /// As [`Self::see`], and when a side is no such multiple.
    pub fn see_scaled(&mut self, picture: RgbImage) -> Result<Sight, ModelError> {
        let upside_down = match self.views {
            Views::Plain => None,
            Views::UpsideDownToo => Some(self.look(flip_vertical(&picture))?.description),
        };
        Ok(Sight { upside_down, ..self.look(picture)? })
    }

    fn look(&mut self, picture: RgbImage) -> Result<Sight, ModelError> {
        let input = input(picture, "making the eyes' input")?;
        let outputs = self.session.run(ort::inputs![INPUT => input]).map_err(runtime("seeing a frame"))?;
        let output = |name: &str| {
            let (shape, values) =
                outputs[name].try_extract_tensor::<f32>().map_err(runtime("reading what was seen"))?;
            check_finite("what was seen", "finite numbers", values)?;
            Ok::<_, ModelError>((shape, values))
        };
        let (shape, cells) = output(sight::CELLS)?;
        let tokens = if self.has_tokens { output(sight::TOKENS)?.1.to_vec() } else { Vec::new() };
        let description = output(sight::DESCRIPTION)?.1.to_vec();
        let activations = self.has_activations.then(|| {
            let (shape, values) = output(sight::ACTIVATIONS)?;
            feature_map(shape, values)
        });
        let (cells, activations) = (feature_map(shape, cells)?, activations.transpose()?);
        Ok(Sight { description, upside_down: None, cells, tokens, activations })
    }
}
