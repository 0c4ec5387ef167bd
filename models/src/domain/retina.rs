//! By which weights a domain sees, and how a file holds them.

use std::collections::BTreeMap;

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::{
    encoder::{
        CELL_DIM, Connector, Folded, Weights,
        eight_bit::{EightBit, Rounded, Span, linear_maps, stays_float},
    },
    product::Matrix,
    tensor_file::{Fault, Tensor, fault, floats, signed},
};

use super::file::{rows, shaped};

/// What the names of the encoder's tensors start with.
pub(super) const EYES: &str = "eyes.";
/// What the names of the connector's tensors start with.
pub(super) const CONNECTOR_PREFIX: &str = "connector.";
/// The tensor without which a domain does not speak.
pub(super) const CONNECTOR: &str = "connector.weight";

/// The numbers in which eyes compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit floats, though a file may hold 16 bits of them.
    #[default]
    F32,
    /// 8-bit integers, except in the first layers.
    Int8,
}

impl Precision {
    /// Returns its name in reports: `f32` or `int8`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Int8 => "int8",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) fn is_float(&self) -> bool {
        *self == Self::F32
    }
}

/// The convolutions of a domain.
#[derive(Debug)]
pub(super) enum Retina {
    /// The encoder's own.
    Published,
    /// In floats.
    Floats(Weights),
    /// In 8 bits.
    EightBit(EightBit),
}

impl Retina {
    /// Returns what a file of this precision holds.
    pub(super) fn read(tensors: &SafeTensors<'_>, precision: Precision) -> Result<Self, Fault> {
        let names = tensors.names();
        let names = names.into_iter().filter_map(|name| name.strip_prefix(EYES)?.strip_suffix(".weight"));
        if precision == Precision::Int8 {
            return Ok(Self::EightBit(eight_bit(tensors, names)?));
        }
        let weights = names.map(|name| Ok((name.to_owned(), folded(tensors, name)?)));
        let weights = weights.collect::<Result<Weights, Fault>>()?;
        Ok(if weights.is_empty() { Self::Published } else { Self::Floats(weights) })
    }

    /// Returns the tensors that a file holds of it.
    pub(super) fn tensors(&self) -> Vec<Tensor> {
        match self {
            Self::Published => Vec::new(),
            Self::Floats(weights) => float_tensors(weights),
            Self::EightBit(EightBit { floats, rounded, spans }) => {
                let mut tensors = float_tensors(floats);
                tensors
                    .extend(rounded.iter().flat_map(|(name, layer)| rounded_tensors(&format!("{EYES}{name}"), layer)));
                let range = |(map, span): (&String, &Span)| Tensor::vector(format!("{EYES}{map}.range"), &span.ends());
                tensors.extend(spans.iter().map(range));
                tensors
            }
        }
    }
}

fn folded(tensors: &SafeTensors<'_>, name: &str) -> Result<Folded, Fault> {
    let (weight, _) = floats(tensors, &format!("{EYES}{name}.weight"))?;
    let (bias, _) = floats(tensors, &format!("{EYES}{name}.bias"))?;
    Ok(Folded { weight, bias })
}

fn eight_bit<'a>(tensors: &SafeTensors<'_>, names: impl Iterator<Item = &'a str>) -> Result<EightBit, Fault> {
    let (mut floats, mut layers) = (Weights::new(), BTreeMap::new());
    for name in names {
        if stays_float(name) {
            floats.insert(name.to_owned(), folded(tensors, name)?);
        } else {
            layers.insert(name.to_owned(), rounded(tensors, &format!("{EYES}{name}"))?);
        }
    }
    let spans = linear_maps().into_iter().map(|map| {
        let span = span(tensors, &format!("{EYES}{map}.range"))?;
        Ok((map, span))
    });
    Ok(EightBit { floats, rounded: layers, spans: spans.collect::<Result<_, Fault>>()? })
}

fn rounded(tensors: &SafeTensors<'_>, name: &str) -> Result<Rounded, Fault> {
    let (weight, rows) = signed(tensors, &format!("{name}.weight"))?;
    let scale = shaped(tensors, &format!("{name}.scale"), &[rows])?;
    if let Some(least) = scale.iter().find(|scale| **scale < f32::MIN_POSITIVE) {
        return Err(fault(format!("numbers above 0 in {name}.scale"), least));
    }
    let bias = shaped(tensors, &format!("{name}.bias"), &[rows])?;
    Ok(Rounded { weight, scale, bias })
}

fn span(tensors: &SafeTensors<'_>, name: &str) -> Result<Span, Fault> {
    let ends = shaped(tensors, name, &[2])?;
    Span::new(ends[0], ends[1]).ok_or_else(|| fault(format!("a range of numbers in {name}"), format!("{ends:?}")))
}

/// Returns the connector of a file of this precision.
pub(super) fn connector(tensors: &SafeTensors<'_>, precision: Precision) -> Result<Connector, Fault> {
    if precision == Precision::Int8 {
        let rounded = rounded(tensors, "connector")?;
        return match rounded.weight.len() / rounded.bias.len() {
            CELL_DIM => Ok(Connector::EightBit(rounded)),
            cols => Err(fault(format!("{CONNECTOR} of shape [rows, {CELL_DIM}]"), format!("{cols} columns"))),
        };
    }
    let weight = rows(tensors, CONNECTOR, CELL_DIM)?;
    let bias = shaped(tensors, "connector.bias", &[weight.len() / CELL_DIM])?;
    Ok(Connector::Floats { weight, bias })
}

/// Returns the tensors of a connector.
pub(super) fn connector_tensors(connector: &Connector) -> Vec<Tensor> {
    let (weight, bias) = match connector {
        Connector::Floats { weight, bias } => (weight, bias),
        Connector::EightBit(rounded) => return rounded_tensors("connector", rounded).into(),
    };
    let weight = Matrix::new(weight.clone(), CELL_DIM);
    vec![Tensor::matrix(CONNECTOR.to_owned(), &weight), Tensor::vector(format!("{CONNECTOR_PREFIX}bias"), bias)]
}

fn float_tensors(weights: &Weights) -> Vec<Tensor> {
    let tensors = weights.iter().flat_map(|(name, Folded { weight, bias })| {
        [("weight", weight), ("bias", bias)]
            .map(|(part, values)| Tensor::vector(format!("{EYES}{name}.{part}"), values))
    });
    tensors.collect()
}

fn rounded_tensors(name: &str, Rounded { weight, scale, bias }: &Rounded) -> [Tensor; 3] {
    [
        Tensor::signed(format!("{name}.weight"), bias.len(), weight),
        Tensor::vector(format!("{name}.scale"), scale),
        Tensor::vector(format!("{name}.bias"), bias),
    ]
}
