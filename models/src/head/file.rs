//! One file holds one head: safetensors, see [`crate::tensor_file`].

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    ModelError,
    product::Matrix,
    tensor_file::{self, Fault, Tensor, byte_rows, fault, floats},
};

use super::{Head, Linear, Origin, Standard};

/// Names the format; the number changes when old files can no longer be read, or [`super::describe`] describes otherwise.
const SCHEMA: &str = "loupe.head/1";

/// Everything in the file but the tensors.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    schema: String,
    strength: f64,
    temperature: f64,
    origin: Origin,
}

impl Head {
    /// Writes the head to `path`: to a file beside it first, so that a head in use is never half written.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        let header = Header {
            schema: SCHEMA.to_owned(),
            strength: self.strength,
            temperature: self.temperature,
            origin: self.origin.clone(),
        };
        let tensors = [
            Tensor::vector("mean".to_owned(), &self.standard.mean),
            Tensor::vector("scale".to_owned(), &self.standard.scale),
            Tensor::matrix("weights".to_owned(), &self.linear.weights),
            Tensor::vector("bias".to_owned(), &self.linear.bias),
            Tensor::byte_rows("learned_from".to_owned(), &self.learned_from),
        ];
        tensor_file::save(path, &header, &tensors)
    }

    /// Returns the head in `path`. Whether it fits an encoder is checked where both come together, in [`super::Classifier::new`].
    ///
    /// # Errors
    /// When the file cannot be read or is no head: each tensor's size, the labels and every range are checked.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let bytes = fs::read(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
        let head = parse(&bytes).map_err(|(expected, found)| ModelError::malformed(path, expected, found))?;
        head.check().map_err(|error| error.in_file(path))?;
        Ok(head)
    }
}

fn parse(bytes: &[u8]) -> Result<Head, Fault> {
    let (header, tensors) = tensor_file::parse(bytes, &format!("{SCHEMA} header"))?;
    let Header { schema, strength, temperature, origin } = header;
    if schema != SCHEMA {
        return Err(fault(format!("schema {SCHEMA}"), format!("{schema:?}")));
    }
    let (mean, _) = floats(&tensors, "mean")?;
    let (scale, _) = floats(&tensors, "scale")?;
    let (weights, shape) = floats(&tensors, "weights")?;
    let (bias, _) = floats(&tensors, "bias")?;
    let &[rows, cols] = shape.as_slice() else {
        return Err(fault("tensor weights of shape [classes, features]", format!("shape {shape:?}")));
    };
    if rows == 0 || cols == 0 {
        return Err(fault("tensor weights with classes and features", format!("shape {shape:?}")));
    }
    let mut learned_from = byte_rows(&tensors, "learned_from")?;
    learned_from.sort_unstable();
    let linear = Linear { weights: Matrix::new(weights, cols), bias };
    Ok(Head { origin, strength, temperature, standard: Standard { mean, scale }, linear, learned_from })
}
