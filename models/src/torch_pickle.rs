//! Reads the weights in a legacy `PyTorch` file (`.pth` written before version 1.6), without running anything in it.
//!
//! Such a file is four pickles (a magic number, a protocol number, facts about the writing machine, the state dict), a
//! fifth with the storage keys, and then the storages in that order: a 64-bit count and the raw numbers. A pickle is a
//! program for a stack machine; `machine` knows the instructions that a state dict needs and refuses every other, every
//! call except two known ones, and every size that the file does not hold.

mod bytes;
mod machine;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::Path,
};

use crate::ModelError;

use bytes::Bytes;
use machine::{Element, Program, TensorView, Value};

/// The number that a legacy file begins with.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The only protocol that such files were ever written with.
const PROTOCOL: i64 = 1001;

/// One tensor of 32-bit floats.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Its shape, outermost dimension first.
    pub dims: Vec<usize>,
    /// Its numbers, row-major.
    pub values: Vec<f32>,
}

/// Tensors by name.
pub type StateDict = BTreeMap<String, Tensor>;

/// What a file should hold and what it does hold instead.
#[derive(Debug, PartialEq)]
struct Fault {
    expected: String,
    found: String,
}

impl Fault {
    fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into() }
    }
}

/// Returns the float tensors of a legacy `PyTorch` state dict; integer tensors (batch counters) are left out.
///
/// # Errors
/// When the file cannot be read or is anything else than such a state dict.
pub fn read(path: &Path) -> Result<StateDict, ModelError> {
    let file = fs::read(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
    parse(&file).map_err(|Fault { expected, found }| ModelError::Malformed { path: path.to_owned(), expected, found })
}

fn parse(file: &[u8]) -> Result<StateDict, Fault> {
    let mut bytes = Bytes::new(file);
    check_header(&mut bytes)?;
    let state = machine::run(&mut bytes)?;
    let keys = storage_keys(&machine::run(&mut bytes)?)?;
    let tensors = state.tensors()?;
    let storages = read_storages(&mut bytes, &keys, &tensors)?;
    let mut dict = StateDict::new();
    for (name, view) in tensors {
        if view.storage.element == Element::F32 {
            let tensor = gather(&name, &view, storages[&view.storage.key])?;
            dict.insert(name, tensor);
        }
    }
    Ok(dict)
}

fn check_header(bytes: &mut Bytes<'_>) -> Result<(), Fault> {
    let magic = machine::run(bytes)?;
    match magic.result() {
        Value::Long(digits) if *digits == MAGIC => {}
        _ => return Err(Fault::new("the magic number of a legacy pytorch file", "another value")),
    }
    match machine::run(bytes)?.result() {
        Value::Int(PROTOCOL) => {}
        _ => return Err(Fault::new(format!("protocol {PROTOCOL}"), "another value")),
    }
    let machine_facts = machine::run(bytes)?;
    if machine_facts.dict_entries().is_some_and(|mut entries| entries.any(is_little_endian)) {
        return Ok(());
    }
    Err(Fault::new("little_endian = true", "another byte order, or none"))
}

fn is_little_endian((key, value): (&Value, &Value)) -> bool {
    matches!(key, Value::Text(text) if text == "little_endian") && matches!(value, Value::Bool(true))
}

fn storage_keys(list: &Program) -> Result<Vec<String>, Fault> {
    let items = list.list_items().ok_or_else(|| Fault::new("a list of storage keys", "another value"))?;
    items
        .map(|item| match item {
            Value::Text(key) => Ok(key.clone()),
            _ => Err(Fault::new("a storage key that is text", "another value")),
        })
        .collect()
}

/// Returns the raw numbers of each storage, after checking that every view's storage is there at its declared length.
fn read_storages<'a>(
    bytes: &mut Bytes<'a>,
    keys: &[String],
    tensors: &[(String, TensorView)],
) -> Result<HashMap<String, &'a [u8]>, Fault> {
    let declared: HashMap<&str, &TensorView> =
        tensors.iter().map(|(_, view)| (view.storage.key.as_str(), view)).collect();
    let mut storages = HashMap::new();
    for key in keys {
        let storage = &declared.get(key.as_str()).ok_or_else(|| unused_storage(key))?.storage;
        let count = bytes.u64(&format!("length of storage {key}"))?;
        if usize::try_from(count) != Ok(storage.len) {
            return Err(Fault::new(format!("{} numbers in storage {key}", storage.len), format!("{count}")));
        }
        let len_bytes = storage.len.checked_mul(storage.element.size_bytes());
        let len_bytes = len_bytes
            .ok_or_else(|| Fault::new(format!("storage {key} that fits in memory"), format!("{count} numbers")))?;
        storages.insert(key.clone(), bytes.take(len_bytes, &format!("storage {key}"))?);
    }
    match tensors.iter().find(|(_, view)| !storages.contains_key(&view.storage.key)) {
        Some((name, view)) => {
            Err(Fault::new(format!("storage {} of tensor {name}", view.storage.key), "no such storage"))
        }
        None => Ok(storages),
    }
}

fn unused_storage(key: &str) -> Fault {
    Fault::new("storages that tensors use", format!("storage {key}, which none does"))
}

/// Copies a strided view into row-major order.
fn gather(name: &str, view: &TensorView, storage: &[u8]) -> Result<Tensor, Fault> {
    let len = checked_len(view).ok_or_else(|| {
        let TensorView { offset, dims, strides, storage } = view;
        Fault::new(
            format!("tensor {name} inside its storage of {} numbers", storage.len),
            format!("offset {offset}, shape {dims:?}, strides {strides:?}"),
        )
    })?;
    let mut values = Vec::with_capacity(len);
    let mut index = vec![0_usize; view.dims.len()];
    for _ in 0..len {
        let position = view.offset + index.iter().zip(&view.strides).map(|(i, stride)| i * stride).sum::<usize>();
        let number = &storage[4 * position..4 * position + 4];
        values.push(f32::from_le_bytes(number.try_into().expect("the range is four bytes long")));
        advance(&mut index, &view.dims);
    }
    Ok(Tensor { dims: view.dims.clone(), values })
}

/// Returns the number of elements of a view, or `None` where an element lies outside of the storage or elements overlap
/// so much that the tensor is larger than its storage.
fn checked_len(view: &TensorView) -> Option<usize> {
    if view.dims.len() != view.strides.len() {
        return None;
    }
    let len = view.dims.iter().try_fold(1_usize, |len, &dim| len.checked_mul(dim))?;
    if len == 0 {
        return Some(0);
    }
    let mut last = view.offset;
    for (dim, stride) in view.dims.iter().zip(&view.strides) {
        last = last.checked_add((dim - 1).checked_mul(*stride)?)?;
    }
    (last < view.storage.len && len <= view.storage.len).then_some(len)
}

/// Moves a row-major index one element on.
fn advance(index: &mut [usize], dims: &[usize]) {
    for (i, &dim) in index.iter_mut().zip(dims).rev() {
        *i += 1;
        if *i < dim {
            return;
        }
        *i = 0;
    }
}

#[cfg(test)]
mod tests;
