//! One file holds one domain: safetensors, see [`crate::tensor_file`]. `models/training` and `loupe train` write it.

use std::{path::Path, sync::Arc};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::{
    ModelError, Scope,
    decoder::{Adapter, LayerAdapter, LowRank},
    encoder::{DESCRIPTION_DIM, check_resolution},
    hash::sha256,
    head::{Linear, TEMPERATURES},
    product::Matrix,
    tensor_file::{self, Fault, Tensor, byte_rows, fault, floats},
};

use super::{
    Domain, Kinds, Label, Novelty, Precision, Retina, Tongue, Views,
    novelty::Gaussian,
    retina::{self, CONNECTOR},
};

/// Names the format; the number changes when old files can no longer be read, or eyes see otherwise.
const SCHEMA: &str = "loupe.domain/1";
/// Of query, key and value, and of attention's output: a factor down and one up.
const TENSORS_PER_LAYER: usize = 4;

/// Everything in the file but the tensors.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    schema: String,
    domain: String,
    prompt: String,
    resolution_px: u32,
    temperature: f64,
    labels: Vec<Label>,
    #[serde(default, skip_serializing_if = "Views::is_plain")]
    views: Views,
    #[serde(default, skip_serializing_if = "Scope::is_picture")]
    scope: Scope,
    #[serde(default, skip_serializing_if = "Precision::is_float")]
    pub(super) precision: Precision,
}

/// Names the header in errors.
pub(super) fn header_name() -> String {
    format!("{SCHEMA} header")
}

pub(super) fn parse(bytes: &[u8]) -> Result<Domain, Fault> {
    let (header, tensors) = tensor_file::parse(bytes, &header_name())?;
    let Header { schema, domain, prompt, resolution_px, temperature, labels, views, scope, precision } = header;
    if schema != SCHEMA {
        return Err(fault(format!("schema {SCHEMA}"), format!("{schema:?}")));
    }
    if !TEMPERATURES.contains(&temperature) {
        let expected = format!("temperature in {} to {}", TEMPERATURES.start(), TEMPERATURES.end());
        return Err(fault(expected, temperature));
    }
    check_resolution(resolution_px).map_err(|error| fault("a resolution of the encoder", error))?;
    if let Some((expected, found)) = scope.fault() {
        return Err(fault(expected, found));
    }
    if labels.len() < 2 {
        return Err(fault("2 labels or more", labels.len()));
    }
    Ok(Domain {
        head: head(&tensors, labels.len())?,
        novelty: novelty(&tensors)?,
        kinds: Kinds::read(&tensors)?,
        tongue: tensors.tensor(CONNECTOR).is_ok().then(|| tongue(&tensors, precision)).transpose()?,
        retina: Retina::read(&tensors, precision)?,
        learned_from: learned_from(&tensors)?,
        name: domain,
        question: prompt,
        labels,
        resolution_px,
        views,
        scope,
        temperature,
        sha256: sha256(bytes),
    })
}

/// Returns the header and the tensors of a domain.
fn contents(domain: &Domain) -> (Header, Vec<Tensor>) {
    let header = Header {
        schema: SCHEMA.to_owned(),
        domain: domain.name.clone(),
        prompt: domain.question.clone(),
        resolution_px: domain.resolution_px,
        temperature: domain.temperature,
        labels: domain.labels.clone(),
        views: domain.views,
        scope: domain.scope,
        precision: domain.precision(),
    };
    let Gaussian { scale, mean, directions, variances, rest_variance } = domain.novelty.gaussian();
    let vector = |name: &str, values: &[f32]| Tensor::vector(name.to_owned(), values);
    let mut tensors = vec![
        Tensor::matrix("head.weight".to_owned(), &domain.head.weights),
        vector("head.bias", &domain.head.bias),
        vector("novelty.scale", scale),
        vector("novelty.mean", mean),
        Tensor::matrix("novelty.directions".to_owned(), directions),
        vector("novelty.variances", variances),
        vector("novelty.rest_variance", &[*rest_variance]),
        vector("novelty.scores", domain.novelty.scores()),
        Tensor::byte_rows("learned_from".to_owned(), &domain.learned_from),
    ];
    tensors.extend(domain.kinds.iter().flat_map(Kinds::tensors));
    tensors.extend(domain.retina.tensors());
    tensors.extend(domain.tongue.iter().flat_map(spoken));
    (header, tensors)
}

/// Returns the tensors of the connector and of the updates.
fn spoken(Tongue { connector, adapter }: &Tongue) -> Vec<Tensor> {
    let mut tensors = retina::connector_tensors(connector);
    for (index, layer) in adapter.layers.iter().enumerate() {
        for (part, update) in LayerAdapter::names(index).iter().zip([&layer.query_key_value, &layer.attention_output]) {
            let name = |factor: &str| format!("{part}.{factor}");
            let (inputs, outputs) = update.sizes();
            tensors.push(Tensor::matrix(name("down"), &Matrix::new(update.down().to_vec(), inputs)));
            tensors.push(Tensor::matrix(name("up"), &Matrix::new(update.up().to_vec(), outputs).transposed()));
        }
    }
    tensors
}

/// Returns the file of a domain.
pub(super) fn serialized(domain: &Domain) -> Vec<u8> {
    let (header, tensors) = contents(domain);
    tensor_file::serialized(&header, &tensors)
}

/// Writes the file of a domain.
pub(super) fn save(domain: &Domain, path: &Path) -> Result<(), ModelError> {
    let (header, tensors) = contents(domain);
    tensor_file::save(path, &header, &tensors)
}

/// Returns the tensor `name` of this shape.
pub(super) fn shaped(tensors: &SafeTensors<'_>, name: &str, expected: &[usize]) -> Result<Vec<f32>, Fault> {
    let (values, shape) = floats(tensors, name)?;
    if shape == expected {
        Ok(values)
    } else {
        Err(fault(format!("{name} of shape {expected:?}"), format!("{shape:?}")))
    }
}

/// Returns the matrix `name`, of any number of rows from 1.
pub(super) fn rows(tensors: &SafeTensors<'_>, name: &str, cols: usize) -> Result<Vec<f32>, Fault> {
    let (values, shape) = floats(tensors, name)?;
    match shape.as_slice() {
        &[rows, found] if rows > 0 && found == cols => Ok(values),
        _ => Err(fault(format!("{name} of shape [rows, {cols}]"), format!("{shape:?}"))),
    }
}

fn head(tensors: &SafeTensors<'_>, labels: usize) -> Result<Linear, Fault> {
    let weights = shaped(tensors, "head.weight", &[labels, DESCRIPTION_DIM])?;
    let bias = shaped(tensors, "head.bias", &[labels])?;
    Ok(Linear { weights: Matrix::new(weights, DESCRIPTION_DIM), bias })
}

fn novelty(tensors: &SafeTensors<'_>) -> Result<Novelty, Fault> {
    let directions = Matrix::new(rows(tensors, "novelty.directions", DESCRIPTION_DIM)?, DESCRIPTION_DIM);
    let positive = |name: &str, shape: &[usize]| {
        let values = shaped(tensors, name, shape)?;
        match values.iter().find(|value| **value < f32::MIN_POSITIVE) {
            Some(value) => Err(fault(format!("numbers above 0 in {name}"), value)),
            None => Ok(values),
        }
    };
    let gaussian = Gaussian {
        scale: positive("novelty.scale", &[DESCRIPTION_DIM])?,
        mean: shaped(tensors, "novelty.mean", &[DESCRIPTION_DIM])?,
        variances: positive("novelty.variances", &[directions.rows()])?,
        rest_variance: positive("novelty.rest_variance", &[1])?[0],
        directions,
    };
    let (scores, _) = floats(tensors, "novelty.scores")?;
    Novelty::new(gaussian, scores).map_err(|error| fault("scores in novelty.scores", error))
}

fn tongue(tensors: &SafeTensors<'_>, precision: Precision) -> Result<Tongue, Fault> {
    let connector = retina::connector(tensors, precision)?;
    let adapter = Arc::new(adapter(tensors, connector.hidden())?);
    Ok(Tongue { connector, adapter })
}

/// Returns the updates of all layers that are there, without a gap; how many there must be and how wide they are is for the decoder to
/// say.
fn adapter(tensors: &SafeTensors<'_>, hidden: usize) -> Result<Adapter, Fault> {
    let count = tensors.names().iter().filter(|name| name.starts_with(LayerAdapter::PREFIX)).count();
    if count == 0 || !count.is_multiple_of(TENSORS_PER_LAYER) {
        return Err(fault(format!("{TENSORS_PER_LAYER} tensors {}* for each layer", LayerAdapter::PREFIX), count));
    }
    let layers = (0..count / TENSORS_PER_LAYER).map(|layer| {
        let [qkv, output] = LayerAdapter::names(layer);
        Ok(LayerAdapter {
            query_key_value: low_rank(tensors, &qkv, hidden)?,
            attention_output: low_rank(tensors, &output, hidden)?,
        })
    });
    Ok(Adapter { layers: layers.collect::<Result<_, Fault>>()? })
}

fn learned_from(tensors: &SafeTensors<'_>) -> Result<Vec<[u8; 32]>, Fault> {
    let mut hashes = byte_rows(tensors, "learned_from")?;
    hashes.sort_unstable();
    Ok(hashes)
}

fn low_rank(tensors: &SafeTensors<'_>, name: &str, inputs: usize) -> Result<LowRank, Fault> {
    let down = rows(tensors, &format!("{name}.down"), inputs)?;
    let rank = down.len() / inputs;
    let up = rows(tensors, &format!("{name}.up"), rank)?;
    LowRank::new((inputs, up.len() / rank), down, &up)
        .map_err(|error| fault(format!("a low-rank update in {name}"), error))
}
