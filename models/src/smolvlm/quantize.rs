use std::{
    borrow::Cow,
    cell::Cell,
    fs,
    path::{Path, PathBuf},
};

use safetensors::{Dtype, View, serialize_to_file};

use crate::{
    ModelError,
    kernels::Storage,
    matrix::{BLOCK_LEN, Format, Matrix, fit},
};

use super::{
    ActivationRanges, Checkpoint, VlmConfig,
    checkpoint::{INDEX_FILE, SINGLE_FILE, float_format},
    config::CONFIG_FILE,
    vision::RANGES,
};

/// Where matrices of the language model lie, in the layouts in use.
const TEXT: [&str; 2] = ["model.text_model.", "lm_head."];
/// Tables of which few rows are read at a time, the head after a screen in 4 bits: they cost little time, so they keep more bits
/// than the rest.
const TABLES: [&str; 3] = ["embed_tokens.weight", "lm_head.weight", "position_embedding.weight"];

/// How a model is rounded.
#[derive(Debug, Clone, Copy)]
pub struct Quantization<'a> {
    /// How the matrices of the language model are stored.
    pub text: Storage,
    /// The ranges over which the vision encoder rounds its activations (static); `None` for a range of each row's own (dynamic).
    pub ranges: Option<&'a ActivationRanges>,
}

/// What quantising has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quantized {
    /// Bytes of all tensors before.
    pub bytes_before: u64,
    /// Bytes of all tensors after.
    pub bytes_after: u64,
    /// Matrices that were rounded.
    pub matrices: usize,
}

/// Writes a copy of the model in the folder `model` to the new folder `output`, in the same layout, with its matrices in blocks of
/// 32: those of the vision encoder, the connector and the token embeddings in 8 bits, those of the language model as `quantization` says.
/// What is no matrix, or has rows that are no whole blocks, stays as it is. Calls `progress` with the bytes done and
/// all bytes.
///
/// # Errors
/// When the model is of another family, is quantised already, holds a weight that is not finite, `output` exists, or a file
/// cannot be written; `output` is not there then.
pub fn quantize(
    model: &Path,
    output: &Path,
    quantization: Quantization<'_>,
    progress: &dyn Fn(u64, u64),
) -> Result<Quantized, ModelError> {
    // A folder of another family would be copied without a word.
    VlmConfig::read(model)?;
    let checkpoint = Checkpoint::open(model)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ModelError::Io { path, source }
    };
    if output.exists() {
        return Err(ModelError::malformed(output, "a folder that does not exist yet", "one that does"));
    }
    let parent = output.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let draft = tempfile::Builder::new().prefix(".quantized").tempdir_in(parent).map_err(failed(parent))?;
    for path in settings(model)? {
        let copy = draft.path().join(path.file_name().unwrap_or_default());
        fs::copy(&path, copy).map_err(failed(&path))?;
    }
    let quantized = write(&checkpoint, (model, &draft.path().join(SINGLE_FILE)), quantization, progress)?;
    fs::rename(draft.path(), output).map_err(failed(output))?;
    Ok(quantized)
}

/// Returns the files of a model folder that say all but its weights.
fn settings(model: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let failed = |source| ModelError::Io { path: model.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(model).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let is_setting = path.extension().is_some_and(|suffix| suffix == "json") && !path.ends_with(INDEX_FILE);
        if is_setting && path.is_file() {
            paths.push(path);
        }
    }
    Ok(paths)
}

fn write(
    checkpoint: &Checkpoint,
    (model, path): (&Path, &Path),
    Quantization { text, ranges }: Quantization<'_>,
    progress: &dyn Fn(u64, u64),
) -> Result<Quantized, ModelError> {
    let bytes_before: u64 = checkpoint.stored().map(|(.., bytes)| bytes.len() as u64).sum();
    let ranges = ranges.map(ActivationRanges::tensor);
    let total = bytes_before + ranges.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64);
    let (done, flaw) = (Cell::new(0), Cell::new(None));
    let state = State { done: &done, flaw: &flaw, progress, total };
    let mut tensors = Vec::new();
    for (name, dtype, dims, bytes) in checkpoint.stored() {
        let source = float_format(dtype);
        if dtype == Dtype::U8 {
            return Err(ModelError::malformed(model, format!("floats in tensor {name}"), "blocks of 8 or 4 bits"));
        }
        let target = source.and_then(|_| target(name, dims, text));
        let target_dims = target.and_then(|target| Some(vec![dims[0], target.bytes_for(dims[1])?]));
        let dims = target_dims.unwrap_or_else(|| dims.to_vec());
        let conversion = source.zip(target);
        tensors.push((name, Tensor { name, dtype, dims, bytes, conversion, state }));
    }
    if let Some((dims, bytes)) = &ranges {
        let (dtype, dims) = (Dtype::F32, dims.to_vec());
        tensors.push((RANGES, Tensor { name: RANGES, dtype, dims, bytes, conversion: None, state }));
    }
    let bytes_after = tensors.iter().map(|(_, tensor)| tensor.data_len() as u64).sum();
    let matrices = tensors.iter().filter(|(_, tensor)| tensor.conversion.is_some()).count();
    serialize_to_file(tensors, None, path).map_err(|error| ModelError::malformed(path, "to be written", error))?;
    // The writer makes a file that nobody else may read.
    let permissions = fs::metadata(model.join(CONFIG_FILE)).map(|metadata| metadata.permissions());
    let copied = permissions.and_then(|permissions| fs::set_permissions(path, permissions));
    copied.map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    match flaw.take() {
        None => Ok(Quantized { bytes_before, bytes_after, matrices }),
        Some(name) => Err(ModelError::malformed(model, format!("tensor {name} to be finite"), "a value that is not")),
    }
}

/// Returns the blocks that a tensor is stored in, `None` where it stays as it is.
fn target(name: &str, dims: &[usize], text: Storage) -> Option<Format> {
    let [_, row_len] = *dims else { return None };
    let is_text = TEXT.iter().any(|prefix| name.starts_with(prefix));
    let is_table = TABLES.iter().any(|table| name.ends_with(table));
    match (is_text, text) {
        _ if !row_len.is_multiple_of(BLOCK_LEN) => None,
        (true, Storage::AsStored) => None,
        (true, Storage::FourBit) if !is_table => Some(Format::Q4_1),
        // Positions are added to every patch of every frame: there is nothing to gain.
        (false, _) if is_table => None,
        _ => Some(Format::Q8_0),
    }
}

/// A tensor that is rounded at the moment of being written, so that memory holds one at a time.
struct Tensor<'a> {
    name: &'a str,
    dtype: Dtype,
    dims: Vec<usize>,
    bytes: &'a [u8],
    /// From which format to which.
    conversion: Option<(Format, Format)>,
    state: State<'a>,
}

/// What writing one tensor after the other has come to.
#[derive(Clone, Copy)]
struct State<'a> {
    done: &'a Cell<u64>,
    total: u64,
    /// A tensor with a value that is not finite.
    flaw: &'a Cell<Option<String>>,
    progress: &'a dyn Fn(u64, u64),
}

impl View for Tensor<'_> {
    fn dtype(&self) -> Dtype {
        if self.conversion.is_some() { Dtype::U8 } else { self.dtype }
    }

    fn shape(&self) -> &[usize] {
        &self.dims
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let State { done, total, flaw, progress } = self.state;
        done.set(done.get() + self.bytes.len() as u64);
        progress(done.get(), total);
        let Some((source, target)) = self.conversion else { return Cow::Borrowed(self.bytes) };
        let row_len = self.bytes.len() / source.block().1;
        let values = Matrix { rows: 1, row_len, format: source, data: self.bytes }.to_f32();
        if values.iter().any(|value| !value.is_finite()) {
            flaw.set(Some(self.name.to_owned()));
        }
        Cow::Owned(if target == Format::Q4_1 { fit::to_q4_1(&values) } else { fit::to_q8_0(&values) })
    }

    fn data_len(&self) -> usize {
        if self.conversion.is_some() { self.dims.iter().product() } else { self.bytes.len() }
    }
}

#[cfg(test)]
mod tests;
