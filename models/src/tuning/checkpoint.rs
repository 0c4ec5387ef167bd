//! One file holds one training: safetensors, see [`crate::tensor_file`].

use std::{collections::BTreeMap, fs, path::Path};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    ModelError,
    product::Matrix,
    tensor_file::{self, Fault, Tensor, fault, floats},
};

use super::{State, Trained};

/// What the names of a trained tensor's parts end with.
const VALUE: &str = "/value";
const AVERAGE: &str = "/average";
const FIRST: &str = "/moment1";
const SECOND: &str = "/moment2";

/// Everything in the file but the tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kept<O> {
    pub(crate) steps: usize,
    pub(crate) options: O,
    /// What the caller knows.
    pub(crate) run: serde_json::Value,
}

impl<O: Serialize + PartialEq> Kept<O> {
    /// Refuses to go on with a training that had other options, and says which.
    pub(crate) fn check(&self, path: &Path, options: &O) -> Result<(), ModelError> {
        if self.options == *options {
            return Ok(());
        }
        let [expected, found] = [options, &self.options].map(in_words);
        let differing = expected.into_iter().zip(found).filter(|(expected, found)| expected != found);
        let (expected, found): (Vec<String>, Vec<String>) = differing.unzip();
        let what = format!("{}: options of the training", path.display());
        Err(ModelError::mismatch(what, expected.join(", "), found.join(", ")))
    }
}

/// Returns name and value of each option: `frozen blocks 5`.
fn in_words(options: &impl Serialize) -> Vec<String> {
    let value = serde_json::to_value(options).unwrap_or_default();
    value.as_object().into_iter().flatten().map(|(key, value)| format!("{} {value}", key.replace('_', " "))).collect()
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<O> {
    schema: String,
    kept: Kept<O>,
}

/// Writes a checkpoint in the format `schema`.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn save<O: Serialize>(path: &Path, schema: &str, kept: Kept<O>, state: &State) -> Result<(), ModelError> {
    let tensors: Vec<Tensor> = state.iter().flat_map(|(name, trained)| parts(name, trained)).collect();
    tensor_file::save(path, &Header { schema: schema.to_owned(), kept }, &tensors)
}

fn parts(name: &str, Trained { value, average, moments }: &Trained) -> Vec<Tensor> {
    let mut parts = vec![(VALUE, value), (AVERAGE, average)];
    if let Some([first, second]) = moments {
        parts.extend([(FIRST, first), (SECOND, second)]);
    }
    parts.into_iter().map(|(part, values)| Tensor::matrix(format!("{name}{part}"), values)).collect()
}

/// Returns what is in a checkpoint of the format `schema`.
///
/// # Errors
/// When the file cannot be read or is none.
pub(crate) fn open<O: DeserializeOwned>(path: &Path, schema: &str) -> Result<(Kept<O>, State), ModelError> {
    let bytes = fs::read(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    parse(&bytes, schema).map_err(|(expected, found)| ModelError::malformed(path, expected, found))
}

fn parse<O: DeserializeOwned>(bytes: &[u8], schema: &str) -> Result<(Kept<O>, State), Fault> {
    let (header, tensors) = tensor_file::parse::<Header<O>>(bytes, &format!("{schema} header"))?;
    if header.schema != schema {
        return Err(fault(format!("schema {schema}"), format!("{:?}", header.schema)));
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
