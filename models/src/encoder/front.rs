//! The network in two parts, for training: the blocks that stay as they are, and the weights of all others.

use std::{cell::RefCell, collections::BTreeMap};

use cameras::Size;
use image::RgbImage;
use ort::session::Session;

use crate::{
    ModelError,
    error::check_finite,
    onnx::{Dim, Element, Node},
    ort_engine::{OrtEngine, SessionConfig, runtime},
};

use super::{
    blocks::BLOCKS,
    folding::{Convolutions, Folded},
    network::{INPUT, Network, Taps},
    scaling::input,
};

/// Name of the output.
const CELLS: &str = "cells";

/// Convolutions with their batch norm folded in, by their names in the published checkpoint.
pub(crate) type Weights = BTreeMap<String, Folded>;

impl Convolutions for Weights {
    fn folded(&self, conv: &str, _norm: &str, dims: [usize; 4]) -> Result<Folded, ModelError> {
        let expected = || format!("{conv} of shape {dims:?}");
        let Some(folded) = self.get(conv) else {
            return Err(ModelError::mismatch("weights of the eyes", expected(), "none"));
        };
        if folded.weight.len() == dims.iter().product::<usize>() && folded.bias.len() == dims[0] {
            return Ok(folded.clone());
        }
        let found = format!("{} weights, {} biases", folded.weight.len(), folded.bias.len());
        Err(ModelError::mismatch("weights of the eyes", expected(), found))
    }
}

/// Returns every convolution that the network asks for.
///
/// # Errors
/// When one is missing or has another shape.
pub(crate) fn all_weights(convolutions: &dyn Convolutions) -> Result<Weights, ModelError> {
    let recorder = Recorder { convolutions, asked_for: RefCell::default() };
    Network::new(&recorder)?.whole(&mut Taps::default())?;
    Ok(recorder.asked_for.into_inner())
}

/// Remembers what a network under construction asks for.
struct Recorder<'a> {
    convolutions: &'a dyn Convolutions,
    asked_for: RefCell<Weights>,
}

impl Convolutions for Recorder<'_> {
    fn folded(&self, conv: &str, norm: &str, dims: [usize; 4]) -> Result<Folded, ModelError> {
        let folded = self.convolutions.folded(conv, norm, dims)?;
        self.asked_for.borrow_mut().insert(conv.to_owned(), folded.clone());
        Ok(folded)
    }
}

/// Maps of a batch of pictures, `[pictures, rows, cols, channels]`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Batch {
    pub(crate) dims: [usize; 4],
    pub(crate) values: Vec<f32>,
}

/// The stem and the first blocks of the network. Owned by one thread.
#[derive(Debug)]
pub(crate) struct Front {
    session: Session,
    channels: usize,
}

impl Front {
    /// Returns the stem and the first `blocks` blocks, 1 at least, of the network with these weights.
    ///
    /// # Errors
    /// When a weight is missing or ONNX Runtime refuses.
    pub(crate) fn open(
        engine: &OrtEngine,
        weights: &dyn Convolutions,
        blocks: usize,
        config: SessionConfig,
    ) -> Result<Self, ModelError> {
        let mut network = Network::new(weights)?;
        let last = network.blocks(blocks, &mut Taps::default())?;
        let channels = BLOCKS[blocks - 1].channels_out;
        // CHW -> HWC
        network.graph.node(Node::new("Transpose", &[last.as_str()], &[CELLS]).ints("perm", &[0, 2, 3, 1]));
        let dims = [Dim::Fixed(1), Dim::Named("rows"), Dim::Named("cols"), Dim::Fixed(channels)];
        network.graph.output(CELLS, Element::F32, &dims);
        Ok(Self { session: engine.session_from_bytes(&network.graph.into_bytes()?, config)?, channels })
    }

    /// Returns the maps of pictures of one size, sides multiples of 32 pixels.
    ///
    /// # Errors
    /// When there is none, sizes differ, or ONNX Runtime fails.
    pub(crate) fn maps(&mut self, pictures: &[RgbImage]) -> Result<Batch, ModelError> {
        let size = |picture: &RgbImage| Size::new(picture.width(), picture.height());
        let first = pictures.first().map(size);
        let mut batch = Batch { dims: [0, 0, 0, self.channels], values: Vec::new() };
        for picture in pictures {
            if Some(size(picture)) != first {
                return Err(ModelError::mismatch("pictures of a batch", "one size", format!("{:?}", size(picture))));
            }
            self.add(picture, &mut batch)?;
        }
        match first {
            Some(_) => Ok(batch),
            None => Err(ModelError::mismatch("pictures of a batch", "1 or more", 0)),
        }
    }

    fn add(&mut self, picture: &RgbImage, batch: &mut Batch) -> Result<(), ModelError> {
        let input = input(picture.clone(), "making the input")?;
        let outputs = self.session.run(ort::inputs![INPUT => input]).map_err(runtime("computing the first blocks"))?;
        let (shape, values) =
            outputs[CELLS].try_extract_tensor::<f32>().map_err(runtime("reading the first blocks"))?;
        check_finite("maps of the first blocks", "finite numbers", values)?;
        let side = |axis: usize| usize::try_from(shape[axis]).unwrap_or(0);
        batch.dims = [batch.dims[0] + 1, side(1), side(2), self.channels];
        batch.values.extend_from_slice(values);
        Ok(())
    }
}
