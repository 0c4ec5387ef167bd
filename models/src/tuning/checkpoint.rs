//! One file holds one training: safetensors, see [`crate::tensor_file`].

use std::{collections::BTreeMap, fs, path::Path};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::{
    ModelError,
    product::Matrix,
    tensor_file::{self, Fault, Tensor, fault, floats},
};

use super::{State, Trained, TuningOptions};

const SCHEMA: &str = "loupe.tuning/1";
/// What the names of a trained tensor's parts end with.
const VALUE: &str = "/value";
const AVERAGE: &str = "/average";
const FIRST: &str = "/moment1";
const SECOND: &str = "/moment2";

/// Everything in the file but the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    pub(super) steps: usize,
    pub(super) options: TuningOptions,
    /// What the caller knows.
    pub(super) run: serde_json::Value,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    schema: String,
    kept: Kept,
}

pub(super) fn save(path: &Path, kept: Kept, state: &State) -> Result<(), ModelError> {
    let tensors: Vec<Tensor> = state.iter().flat_map(|(name, trained)| parts(name, trained)).collect();
    tensor_file::save(path, &Header { schema: SCHEMA.to_owned(), kept }, &tensors)
}

fn parts(name: &str, Trained { value, average, moments }: &Trained) -> Vec<Tensor> {
    let mut parts = vec![(VALUE, value), (AVERAGE, average)];
    if let Some([first, second]) = moments {
        parts.extend([(FIRST, first), (SECOND, second)]);
    }
    parts.into_iter().map(|(part, values)| Tensor::matrix(format!("{name}{part}"), values)).collect()
}

pub(super) fn open(path: &Path) -> Result<(Kept, State), ModelError> {
    let bytes = fs::read(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    parse(&bytes).map_err(|(expected, found)| ModelError::malformed(path, expected, found))
}

fn parse(bytes: &[u8]) -> Result<(Kept, State), Fault> {
    let (header, tensors) = tensor_file::parse::<Header>(bytes, &format!("{SCHEMA} header"))?;
    if header.schema != SCHEMA {
        return Err(fault(format!("schema {SCHEMA}"), format!("{:?}", header.schema)));
    }
    let names = tensors.names().into_iter();
    let names = names.filter_map(|name| name.strip_suffix(VALUE));
    let state = names.map(|name| Ok((name.to_owned(), trained(&tensors, name)?)));
    Ok((header.kept, state.collect::<Result<BTreeMap<_, _>, Fault>>()?))
}

fn trained(tensors: &SafeTensors<'_>, name: &str) -> Result<Trained, Fault> {
    let part = |part: &str| matrix(tensors, &format!("{name}{part}"));
    let has_moments = tensors.tensor(&format!("{name}{FIRST}")).is_ok();
    let moments = if has_moments { Some([part(FIRST)?, part(SECOND)?]) } else { None };
    Ok(Trained { value: part(VALUE)?, average: part(AVERAGE)?, moments })
}

fn matrix(tensors: &SafeTensors<'_>, name: &str) -> Result<Matrix, Fault> {
    let (values, shape) = floats(tensors, name)?;
    match shape.as_slice() {
        &[rows, cols] if rows > 0 && cols > 0 => Ok(Matrix::new(values, cols)),
        _ => Err(fault(format!("{name} of shape [rows, columns]"), format!("{shape:?}"))),
    }
}
