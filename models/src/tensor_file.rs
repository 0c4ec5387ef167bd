//! Files that Loupe writes for itself: safetensors, with everything that is not a tensor as JSON in its metadata.

use std::{collections::HashMap, fmt, fs, path::Path};

use half::f16;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Serialize, de::DeserializeOwned};

use crate::{ModelError, product::Matrix};

/// The metadata key of the JSON.
const HEADER_KEY: &str = "loupe";

/// A tensor on its way into a file.
#[derive(Debug)]
pub(crate) struct Tensor {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Tensor {
    /// Returns `[values]`.
    pub(crate) fn vector(name: String, values: &[f32]) -> Self {
        Self { name, dtype: Dtype::F32, shape: vec![values.len()], bytes: bytes_of(values) }
    }

    /// Returns `[rows, cols]`.
    pub(crate) fn matrix(name: String, values: &Matrix) -> Self {
        let shape = vec![values.rows(), values.cols()];
        Self { name, dtype: Dtype::F32, shape, bytes: bytes_of(values.values()) }
    }

    /// Returns `[rows, values / rows]` of signed bytes.
    pub(crate) fn signed(name: String, rows: usize, values: &[i8]) -> Self {
        let bytes = values.iter().map(|value| value.cast_unsigned()).collect();
        Self { name, dtype: Dtype::I8, shape: vec![rows, values.len() / rows.max(1)], bytes }
    }

    /// Returns a tensor of another file as it is.
    pub(crate) fn copied(name: String, tensor: &TensorView<'_>) -> Self {
        Self { name, dtype: tensor.dtype(), shape: tensor.shape().to_vec(), bytes: tensor.data().to_vec() }
    }

    /// Returns its name.
    #[cfg(test)]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns `values` in a shape that has as many places.
    #[cfg(test)]
    pub(crate) fn shaped(name: String, shape: Vec<usize>, values: &[f32]) -> Self {
        Self { name, dtype: Dtype::F32, shape, bytes: bytes_of(values) }
    }

    /// Returns `[rows, N]` of bytes.
    pub(crate) fn byte_rows<const N: usize>(name: String, rows: &[[u8; N]]) -> Self {
        Self { name, dtype: Dtype::U8, shape: vec![rows.len(), N], bytes: rows.concat() }
    }
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Returns the file that holds `tensors` under `header`.
///
/// # Panics
/// Never: shapes are those of the values.
pub(crate) fn serialized(header: &impl Serialize, tensors: &[Tensor]) -> Vec<u8> {
    let views = tensors.iter().map(|Tensor { name, dtype, shape, bytes }| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).expect("the shape is that of the values");
        (name.as_str(), view)
    });
    let header = serde_json::to_string(header).expect("the header holds plain data");
    let metadata = HashMap::from([(HEADER_KEY.to_owned(), header)]);
    safetensors::serialize(views, Some(metadata)).expect("names are text and shapes fit")
}

/// Writes `tensors` under `header` to `path`: to a file beside it first, so that a file in use is never half written.
///
/// # Errors
/// When a file cannot be written.
pub(crate) fn save(path: &Path, header: &impl Serialize, tensors: &[Tensor]) -> Result<(), ModelError> {
    let draft = path.with_extension("draft");
    let written = fs::write(&draft, serialized(header, tensors));
    written.and_then(|()| fs::rename(&draft, path)).map_err(|source| {
        // The first error is the one to report; what is left of the draft would only fill a disk that is full already.
        fs::remove_file(&draft).ok();
        ModelError::Io { path: path.to_owned(), source }
    })
}

/// What was expected and what was found instead.
pub(crate) type Fault = (String, String);

/// Returns the fault of a file that holds something else than `expected`.
pub(crate) fn fault(expected: impl Into<String>, found: impl fmt::Display) -> Fault {
    (expected.into(), format!("{found}"))
}

/// Returns the header, which `expected` calls it in errors, and the tensors in `bytes`.
///
/// # Errors
/// When `bytes` are no safetensors or the header is missing or another.
pub(crate) fn parse<'a, T: DeserializeOwned>(bytes: &'a [u8], expected: &str) -> Result<(T, SafeTensors<'a>), Fault> {
    let unreadable = |error| fault(format!("safetensors with a {expected}"), error);
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
    let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(HEADER_KEY));
    let header = header.ok_or_else(|| fault(format!("metadata under {HEADER_KEY}"), "none"))?;
    let header = serde_json::from_str(header).map_err(|error| fault(expected, error))?;
    Ok((header, SafeTensors::deserialize(bytes).map_err(unreadable)?))
}

/// Returns a tensor's values, all finite, with its shape.
///
/// # Errors
/// When there is no such tensor of 32-bit or 16-bit floats, or a value is not finite.
pub(crate) fn floats(tensors: &SafeTensors<'_>, name: &str) -> Result<(Vec<f32>, Vec<usize>), Fault> {
    let tensor = tensors.tensor(name).map_err(|error| fault(format!("tensor {name}"), error))?;
    let bytes = tensor.data();
    let values: Vec<f32> = match tensor.dtype() {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        Dtype::F16 => bytes.as_chunks::<2>().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
        other => return Err(fault(format!("tensor {name} of 32-bit or 16-bit floats"), format!("{other:?}"))),
    };
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(fault(format!("finite numbers in tensor {name}"), value)),
        None => Ok((values, tensor.shape().to_vec())),
    }
}

/// Returns a matrix `[rows, cols]` of signed bytes, row by row, with its rows.
///
/// # Errors
/// When there is no such tensor of that type and rank, or it is empty.
pub(crate) fn signed(tensors: &SafeTensors<'_>, name: &str) -> Result<(Vec<i8>, usize), Fault> {
    let tensor = tensors.tensor(name).map_err(|error| fault(format!("tensor {name}"), error))?;
    match (tensor.dtype(), tensor.shape()) {
        (Dtype::I8, &[rows, cols]) if rows * cols > 0 => {
            Ok((tensor.data().iter().map(|byte| byte.cast_signed()).collect(), rows))
        }
        (dtype, shape) => {
            let found = format!("{dtype:?} of shape {shape:?}");
            Err(fault(format!("tensor {name} of signed bytes, [rows, cols]"), found))
        }
    }
}

/// Returns the rows of a tensor `[rows, N]` of bytes.
///
/// # Errors
/// When there is no such tensor of that type and width.
pub(crate) fn byte_rows<const N: usize>(tensors: &SafeTensors<'_>, name: &str) -> Result<Vec<[u8; N]>, Fault> {
    let tensor = tensors.tensor(name).map_err(|error| fault(format!("tensor {name}"), error))?;
    if tensor.dtype() != Dtype::U8 || tensor.shape().len() != 2 || tensor.shape()[1] != N {
        let found = format!("{:?} of shape {:?}", tensor.dtype(), tensor.shape());
        return Err(fault(format!("tensor {name} of bytes, [rows, {N}]"), found));
    }
    Ok(tensor.data().as_chunks::<N>().0.to_vec())
}
