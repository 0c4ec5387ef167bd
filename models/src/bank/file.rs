//! One file holds one bank: safetensors, with everything that is not a tensor as JSON in its metadata.

use std::{fs, path::Path};

use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};

use crate::{
    Calibration, Encoder, ModelError,
    product::Matrix,
    tensor_file::{self, Fault, Tensor, fault, floats},
};

use super::{
    Bank, BankOptions,
    basis::Basis,
    discriminator::{Discriminator, Layers, Shares},
    scale::Scale,
};

const SCHEMA: &str = "loupe.bank/2";
/// More scales than any encoder has.
const MAX_SCALES: usize = 16;

/// Everything in the file but the tensors.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    schema: String,
    encoder: String,
    options: BankOptions,
    magnification: f64,
    scales: Vec<ScaleHeader>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    discriminator: Option<Shares>,
    calibration: Calibration,
    heat_calibration: Calibration,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ScaleHeader {
    map: usize,
    neighbours: usize,
}

impl Bank {
    /// Writes the bank to `path`: to a file beside it first, so that a bank in use is never half written.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        let of_scales = self.scales.iter().enumerate().flat_map(|(index, scale)| tensors_of(index, scale));
        let tensors: Vec<_> = of_scales.chain(self.discriminator.iter().flat_map(weights_of)).collect();
        tensor_file::save(path, &self.header(), &tensors)
    }

    /// Returns the bank in `path`, for features of `encoder`.
    ///
    /// # Errors
    /// When the file cannot be read, is no bank, or was made with another encoder, other weights or another resolution.
    pub fn load(path: &Path, encoder: &Encoder) -> Result<Self, ModelError> {
        let bytes = fs::read(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
        let bank = parse(&bytes).map_err(|(expected, found)| ModelError::malformed(path, expected, found))?;
        if bank.encoder == encoder.identity() {
            return Ok(bank);
        }
        Err(ModelError::Malformed {
            path: path.to_owned(),
            expected: format!("a bank of features of {}; enrol again", encoder.identity()),
            found: format!("one of {}", bank.encoder),
        })
    }

    fn header(&self) -> Header {
        Header {
            schema: SCHEMA.to_owned(),
            encoder: self.encoder.clone(),
            options: self.options,
            magnification: self.magnification,
            scales: self.scales.iter().map(ScaleHeader::of).collect(),
            discriminator: self.discriminator.as_ref().map(|discriminator| discriminator.shares),
            calibration: self.calibration.clone(),
            heat_calibration: self.heat_calibration.clone(),
        }
    }
}

impl ScaleHeader {
    const fn of(scale: &Scale) -> Self {
        Self { map: scale.map, neighbours: scale.neighbours }
    }
}

fn tensors_of(index: usize, scale: &Scale) -> [Tensor; 5] {
    let Scale { map: _, neighbours: _, basis, items, scoring, placing } = scale;
    let name = |name: &str| format!("{index}.{name}");
    [
        Tensor::vector(name("mean"), &basis.mean),
        Tensor::matrix(name("projection"), &basis.projection),
        Tensor::matrix(name("items"), items),
        Tensor::vector(name("scoring"), scoring),
        Tensor::vector(name("placing"), placing),
    ]
}

fn weights_of(discriminator: &Discriminator) -> [Tensor; 4] {
    let Layers { hidden, hidden_bias, output, output_bias } = &discriminator.layers;
    [
        Tensor::matrix("discriminator.hidden".to_owned(), hidden),
        Tensor::matrix("discriminator.hidden_bias".to_owned(), hidden_bias),
        Tensor::matrix("discriminator.output".to_owned(), output),
        Tensor::matrix("discriminator.output_bias".to_owned(), output_bias),
    ]
}

pub(super) fn parse(bytes: &[u8]) -> Result<Bank, Fault> {
    let (header, tensors) = tensor_file::parse(bytes, &format!("{SCHEMA} header; enrol again"))?;
    let header: Header = header;
    if header.schema != SCHEMA {
        return Err(fault(format!("schema {SCHEMA}"), header.schema));
    }
    if !(1..=MAX_SCALES).contains(&header.scales.len()) {
        return Err(fault(format!("1 to {MAX_SCALES} scales"), header.scales.len()));
    }
    if !(header.magnification.is_finite() && header.magnification > 0.0) {
        return Err(fault("a magnification above 0", header.magnification));
    }
    let scales = header.scales.iter().enumerate().map(|(index, scale)| read_scale(&tensors, index, scale));
    let scales: Vec<Scale> = scales.collect::<Result<_, _>>()?;
    if scales.iter().all(|scale| scale.scoring.is_empty()) {
        return Err(fault("a scale that scores", "none"));
    }
    let discriminator = header.discriminator.map(|shares| read_discriminator(&tensors, shares)).transpose()?;
    Ok(Bank {
        options: header.options,
        encoder: header.encoder,
        magnification: header.magnification,
        scales,
        discriminator,
        calibration: header.calibration,
        heat_calibration: header.heat_calibration,
        threads: 1,
    })
}

fn read_scale(tensors: &SafeTensors<'_>, index: usize, header: &ScaleHeader) -> Result<Scale, Fault> {
    let name = |name: &str| format!("{index}.{name}");
    let read = |tensor: &str| floats(tensors, &name(tensor));
    let (mean, _) = read("mean")?;
    let (projection, shape) = read("projection")?;
    let coordinates = shape.get(1).copied().unwrap_or(0);
    expect_shape(&name("projection"), &shape, &[mean.len().max(1), coordinates.max(1)])?;
    let (items, shape) = read("items")?;
    let count = shape.first().copied().unwrap_or(0).max(1);
    expect_shape(&name("items"), &shape, &[count, coordinates])?;
    if !(1..=count).contains(&header.neighbours) {
        return Err(fault(format!("scale {index} with 1 to {count} neighbours"), header.neighbours));
    }
    let (scoring, shape) = read("scoring")?;
    expect_shape(&name("scoring"), &shape, &[if scoring.is_empty() { 0 } else { count }])?;
    let (placing, shape) = read("placing")?;
    expect_shape(&name("placing"), &shape, &[count])?;
    if scoring.iter().chain(&placing).any(|&divisor| divisor <= 0.0) {
        return Err(fault(format!("scale {index} with divisors above 0"), "others"));
    }
    Ok(Scale {
        map: header.map,
        basis: Basis { mean, projection: Matrix::new(projection, coordinates) },
        items: Matrix::new(items, coordinates),
        neighbours: header.neighbours,
        scoring,
        placing,
    })
}

fn read_discriminator(tensors: &SafeTensors<'_>, shares: Shares) -> Result<Discriminator, Fault> {
    let read = |name: &str, [rows, cols]: [Option<usize>; 2]| -> Result<Matrix, Fault> {
        let name = format!("discriminator.{name}");
        let (values, shape) = floats(tensors, &name)?;
        let side = |index: usize| shape.get(index).copied().unwrap_or(0).max(1);
        let (rows, cols) = (rows.unwrap_or_else(|| side(0)), cols.unwrap_or_else(|| side(1)));
        expect_shape(&name, &shape, &[rows, cols])?;
        Ok(Matrix::new(values, cols))
    };
    let hidden = read("hidden", [None, None])?;
    let width = Some(hidden.cols());
    if !(shares.scoring >= 0.0 && shares.placing >= 0.0) {
        return Err(fault("a discriminator that counts 0 or more", format!("{shares:?}")));
    }
    let layers = Layers {
        hidden_bias: read("hidden_bias", [Some(1), width])?,
        output: read("output", [width, Some(1)])?,
        output_bias: read("output_bias", [Some(1), Some(1)])?,
        hidden,
    };
    Ok(Discriminator { layers, shares })
}

fn expect_shape(name: &str, found: &[usize], expected: &[usize]) -> Result<(), Fault> {
    if found == expected {
        return Ok(());
    }
    Err(fault(format!("tensor {name} of shape {expected:?}"), format!("shape {found:?}")))
}
