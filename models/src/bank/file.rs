//! One file holds one bank: safetensors, with everything that is not a tensor as JSON in its metadata.

use std::{collections::HashMap, fmt, fs, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::{Calibration, Encoder, ModelError};

use super::{Bank, BankOptions, basis::Basis, product::Matrix, scale::Scale};

const SCHEMA: &str = "loupe.bank/2";
/// The metadata key of the JSON.
const HEADER_KEY: &str = "loupe";
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
    ///
    /// # Panics
    /// Never: shapes are those of the values.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        let tensors: Vec<_> =
            self.scales.iter().enumerate().flat_map(|(index, scale)| tensors_of(index, scale)).collect();
        let views = tensors.iter().map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes).expect("the shape is that of the values");
            (name.as_str(), view)
        });
        let header = serde_json::to_string(&self.header()).expect("the header holds plain data");
        let metadata = HashMap::from([(HEADER_KEY.to_owned(), header)]);
        let bytes = safetensors::serialize(views, Some(metadata)).expect("names are text and shapes fit");
        let draft = path.with_extension("draft");
        let io = |source| ModelError::Io { path: path.to_owned(), source };
        fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, path)).map_err(io)
    }

    /// Returns the bank in `path`, for features of `encoder`.
    ///
    /// # Errors
    /// When the file cannot be read, is no bank, or was made with another encoder, other weights or another resolution.
    pub fn load(path: &Path, encoder: &Encoder) -> Result<Self, ModelError> {
        let bytes = fs::read(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
        let bank = parse(&bytes).map_err(|(expected, found)| ModelError::Malformed {
            path: path.to_owned(),
            expected,
            found,
        })?;
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

fn tensors_of(index: usize, scale: &Scale) -> Vec<(String, Vec<usize>, Vec<u8>)> {
    let Scale { map: _, neighbours: _, basis, items, scoring, placing } = scale;
    let matrix = |matrix: &Matrix| (vec![matrix.rows(), matrix.cols()], bytes_of(matrix.values()));
    let vector = |values: &[f32]| (vec![values.len()], bytes_of(values));
    let parts = [
        ("mean", vector(&basis.mean)),
        ("projection", matrix(&basis.projection)),
        ("items", matrix(items)),
        ("scoring", vector(scoring)),
        ("placing", vector(placing)),
    ];
    parts.into_iter().map(|(name, (shape, bytes))| (format!("{index}.{name}"), shape, bytes)).collect()
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// What was expected and what was found instead.
type Fault = (String, String);

fn fault(expected: impl Into<String>, found: impl fmt::Display) -> Fault {
    (expected.into(), format!("{found}"))
}

pub(super) fn parse(bytes: &[u8]) -> Result<Bank, Fault> {
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| fault("a bank as safetensors", error))?;
    let header = metadata.metadata().as_ref().and_then(|metadata| metadata.get(HEADER_KEY));
    let header = header.ok_or_else(|| fault(format!("metadata under {HEADER_KEY}"), "none"))?;
    let header: Header =
        serde_json::from_str(header).map_err(|error| fault(format!("{SCHEMA} header; enrol again"), error))?;
    if header.schema != SCHEMA {
        return Err(fault(format!("schema {SCHEMA}"), header.schema));
    }
    if !(1..=MAX_SCALES).contains(&header.scales.len()) {
        return Err(fault(format!("1 to {MAX_SCALES} scales"), header.scales.len()));
    }
    if !(header.magnification.is_finite() && header.magnification > 0.0) {
        return Err(fault("a magnification above 0", header.magnification));
    }
    let tensors = SafeTensors::deserialize(bytes).map_err(|error| fault("a bank as safetensors", error))?;
    let scales = header.scales.iter().enumerate().map(|(index, scale)| read_scale(&tensors, index, scale));
    let scales: Vec<Scale> = scales.collect::<Result<_, _>>()?;
    if scales.iter().all(|scale| scale.scoring.is_empty()) {
        return Err(fault("a scale that scores", "none"));
    }
    Ok(Bank {
        options: header.options,
        encoder: header.encoder,
        magnification: header.magnification,
        scales,
        calibration: header.calibration,
        heat_calibration: header.heat_calibration,
        threads: 1,
    })
}

fn read_scale(tensors: &SafeTensors<'_>, index: usize, header: &ScaleHeader) -> Result<Scale, Fault> {
    let read = |name: &str| floats(tensors, &format!("{index}.{name}"));
    let (mean, _) = read("mean")?;
    let (projection, shape) = read("projection")?;
    let coordinates = shape.get(1).copied().unwrap_or(0);
    expect_shape(index, "projection", &shape, &[mean.len().max(1), coordinates.max(1)])?;
    let (items, shape) = read("items")?;
    let count = shape.first().copied().unwrap_or(0).max(1);
    expect_shape(index, "items", &shape, &[count, coordinates])?;
    if !(1..=count).contains(&header.neighbours) {
        return Err(fault(format!("scale {index} with 1 to {count} neighbours"), header.neighbours));
    }
    let (scoring, shape) = read("scoring")?;
    expect_shape(index, "scoring", &shape, &[if scoring.is_empty() { 0 } else { count }])?;
    let (placing, shape) = read("placing")?;
    expect_shape(index, "placing", &shape, &[count])?;
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

fn expect_shape(index: usize, name: &str, found: &[usize], expected: &[usize]) -> Result<(), Fault> {
    if found == expected {
        return Ok(());
    }
    Err(fault(format!("tensor {index}.{name} of shape {expected:?}"), format!("shape {found:?}")))
}

/// Returns a tensor's values, all finite, with its shape.
fn floats(tensors: &SafeTensors<'_>, name: &str) -> Result<(Vec<f32>, Vec<usize>), Fault> {
    let tensor = tensors.tensor(name).map_err(|error| fault(format!("tensor {name}"), error))?;
    if tensor.dtype() != Dtype::F32 {
        return Err(fault(format!("tensor {name} of 32-bit floats"), format!("{:?}", tensor.dtype())));
    }
    let values: Vec<f32> = tensor.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    match values.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(fault(format!("finite numbers in tensor {name}"), value)),
        None => Ok((values, tensor.shape().to_vec())),
    }
}
