//! A domain in 8 bits, from one in floats.

use std::{borrow::Cow, path::Path};

use cameras::Frame;

use crate::{
    ModelError,
    encoder::{
        Connector, EncoderConfig, Published, SpanSurvey, Weights, all_weights,
        eight_bit::{EightBit, Rounded},
    },
    ort_engine::{OrtEngine, SessionConfig},
    tensor_file::{self, Tensor},
    torch_pickle,
};

use super::{
    Domain, Precision, Retina,
    file::{self, Header},
    find::bytes_of,
    retina::{self, CONNECTOR_PREFIX, EYES},
};

/// Rounds the eyes and the connector of a domain to 8 bits, over ranges of numbers that it finds on pictures. Owned by one thread.
#[derive(Debug)]
pub struct Quantizer {
    name: String,
    bytes: Cow<'static, [u8]>,
    domain: Domain,
    weights: Weights,
    survey: SpanSurvey,
}

impl Quantizer {
    /// Returns a quantizer of the domain of that name in the binary, or in the file of that name; see [`Domain::eyes`] for the others.
    ///
    /// # Errors
    /// When there is no such domain, it is in 8 bits already, a weight is missing or ONNX Runtime refuses.
    pub fn open(name: &str, engine: &OrtEngine, published: &Path, session: SessionConfig) -> Result<Self, ModelError> {
        let bytes = bytes_of(name)?;
        let domain = Domain::from_bytes(&bytes, Path::new(name))?;
        let weights = match &domain.retina {
            Retina::Published => all_weights(&Published { state: &torch_pickle::read(published)?, path: published })?,
            Retina::Floats(weights) => all_weights(weights)?,
            Retina::EightBit(_) => {
                return Err(ModelError::malformed(Path::new(name), "a domain in floats", "one in 8 bits"));
            }
        };
        let config = EncoderConfig { resolution_px: domain.resolution_px, session };
        let survey = SpanSurvey::open(engine, &weights, config)?;
        Ok(Self { name: name.to_owned(), bytes, domain, weights, survey })
    }

    /// Returns the domain in floats.
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Returns the bytes of its file.
    pub fn file_len(&self) -> usize {
        self.bytes.len()
    }

    /// Looks at a picture for the numbers that maps hold.
    ///
    /// # Errors
    /// When ONNX Runtime fails.
    pub fn see(&mut self, frame: &Frame) -> Result<(), ModelError> {
        self.survey.see(frame)
    }

    /// Returns the file of the domain in 8 bits: eyes and connector rounded, all else as it was.
    ///
    /// # Errors
    /// When no picture was seen.
    pub fn file(&self) -> Result<Vec<u8>, ModelError> {
        let retina = Retina::EightBit(EightBit::of(&self.weights, self.survey.spans()?));
        let connector = self.domain.tongue.as_ref().map(|tongue| match &tongue.connector {
            Connector::Floats { weight, bias } => Connector::EightBit(Rounded::of(weight, bias)),
            rounded @ Connector::EightBit(_) => rounded.clone(),
        });
        let parsed = tensor_file::parse::<Header>(&self.bytes, &file::header_name());
        let (mut header, old) =
            parsed.map_err(|(expected, found)| ModelError::malformed(Path::new(&self.name), expected, found))?;
        header.precision = Precision::Int8;
        let is_kept = |name: &str| !name.starts_with(EYES) && !name.starts_with(CONNECTOR_PREFIX);
        let kept = old.tensors().into_iter().filter(|(name, _)| is_kept(name));
        let mut tensors: Vec<Tensor> = kept.map(|(name, tensor)| Tensor::copied(name, &tensor)).collect();
        tensors.extend(retina.tensors());
        tensors.extend(connector.iter().flat_map(retina::connector_tensors));
        Ok(tensor_file::serialized(&header, &tensors))
    }
}
