use std::{collections::BTreeMap, path::Path};

use crate::ModelError;

use super::{Format, TensorInfo};

const MAGIC: &[u8; 4] = b"GGUF";
/// Start of tensor data in a file that does not say otherwise.
const DEFAULT_ALIGNMENT_BYTES: usize = 32;
/// The most dimensions that a tensor of any published model has.
const DIMENSIONS_MAX: u32 = 4;
/// The types of [`Format::from_code`], for errors.
const TYPES: &str = "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, IQ4_NL or Q2_K to Q6_K";

/// A metadata value. Integers of every width become `i64`, floats `f64`.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A float.
    Float(f64),
    /// True or false.
    Flag(bool),
    /// A text.
    Text(String),
    /// A list of texts.
    Texts(Vec<String>),
    /// A list of whole numbers (or flags, as 0 and 1).
    Integers(Vec<i64>),
    /// A list of floats.
    Floats(Vec<f64>),
}

/// What a file says about itself.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) metadata: BTreeMap<String, Value>,
    pub(super) tensors: BTreeMap<String, TensorInfo>,
    /// Bytes before the tensors.
    pub(super) directory_len: usize,
}

/// What is wrong with a file, before its name is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) expected: String,
    pub(super) found: String,
}

impl Flaw {
    fn new(expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self { expected: expected.into(), found: found.into() }
    }

    pub(super) fn in_file(self, path: &Path) -> ModelError {
        ModelError::Malformed { path: path.to_owned(), expected: self.expected, found: self.found }
    }
}

/// Returns the directory of a file's bytes.
pub(super) fn parse(bytes: &[u8]) -> Result<Contents, Flaw> {
    let mut reader = Reader { bytes, position: 0 };
    let magic = reader.take(4, "the GGUF signature")?;
    if magic != MAGIC {
        return Err(Flaw::new("the GGUF signature", format!("{magic:02x?}")));
    }
    let version = reader.u32("the version")?;
    if !(2..=3).contains(&version) {
        return Err(Flaw::new("GGUF version 2 or 3", version.to_string()));
    }
    // A tensor entry takes at least 24 bytes, a metadata entry at least 13.
    let tensor_count = reader.count(24, "the tensor count")?;
    let value_count = reader.count(13, "the metadata count")?;
    let metadata = metadata(&mut reader, value_count)?;
    let tensors = tensors(&mut reader, tensor_count, alignment(&metadata)?)?;
    Ok(Contents { metadata, tensors, directory_len: reader.position })
}

fn metadata(reader: &mut Reader<'_>, count: usize) -> Result<BTreeMap<String, Value>, Flaw> {
    let mut metadata = BTreeMap::new();
    for _ in 0..count {
        let key = reader.text("a metadata key")?;
        let code = reader.u32(&key)?;
        let value = reader.value(code, &key)?;
        if metadata.contains_key(&key) {
            return Err(Flaw::new("each metadata key once", format!("{key} twice")));
        }
        metadata.insert(key, value);
    }
    Ok(metadata)
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<usize, Flaw> {
    match metadata.get("general.alignment") {
        None => Ok(DEFAULT_ALIGNMENT_BYTES),
        Some(Value::Integer(value)) if *value > 0 && value.count_ones() == 1 && *value <= 1 << 20 => {
            Ok(*value as usize)
        }
        Some(other) => Err(Flaw::new("general.alignment to be a power of two up to 2^20", format!("{other:?}"))),
    }
}

fn tensors(reader: &mut Reader<'_>, count: usize, alignment: usize) -> Result<BTreeMap<String, TensorInfo>, Flaw> {
    let mut entries = Vec::new();
    for _ in 0..count {
        let name = reader.text("a tensor name")?;
        let entry = tensor(reader, &name)?;
        entries.push((name, entry));
    }
    let start = reader.position.next_multiple_of(alignment);
    let mut tensors = BTreeMap::new();
    for (name, entry) in entries {
        let info = entry.place(start, reader.bytes.len(), &name)?;
        if tensors.insert(name.clone(), info).is_some() {
            return Err(Flaw::new("each tensor once", format!("{name} twice")));
        }
    }
    Ok(tensors)
}

/// An entry of the tensor directory, whose place in the file is not yet known.
struct Entry {
    dims: Vec<usize>,
    format: Format,
    offset: u64,
}

impl Entry {
    fn place(self, start: usize, file_len: usize, name: &str) -> Result<TensorInfo, Flaw> {
        let Self { dims, format, offset } = self;
        let (row_len, rows) = dims.split_last().map_or((0, &[][..]), |(last, rows)| (*last, rows));
        let len = rows.iter().try_fold(format.bytes_for(row_len), |len, &rows| Some(len?.checked_mul(rows)));
        let range = len.flatten().and_then(|len| {
            let begin = start.checked_add(usize::try_from(offset).ok()?)?;
            Some(begin..begin.checked_add(len)?)
        });
        match range {
            Some(bytes) if bytes.end <= file_len => Ok(TensorInfo { dims, format, bytes }),
            Some(bytes) => {
                Err(Flaw::new(format!("{} bytes for tensor {name}", bytes.end), format!("a file of {file_len} bytes")))
            }
            None => Err(Flaw::new(format!("whole blocks in tensor {name}"), format!("{dims:?} of {format:?}"))),
        }
    }
}

fn tensor(reader: &mut Reader<'_>, name: &str) -> Result<Entry, Flaw> {
    let dimensions = reader.u32(name)?;
    if !(1..=DIMENSIONS_MAX).contains(&dimensions) {
        return Err(Flaw::new(format!("tensor {name} to have 1 to 4 dimensions"), dimensions.to_string()));
    }
    // The file names the one of neighbours first.
    let mut dims = (0..dimensions).map(|_| reader.size(name)).collect::<Result<Vec<_>, _>>()?;
    dims.reverse();
    let code = reader.u32(name)?;
    let format = Format::from_code(code)
        .ok_or_else(|| Flaw::new(format!("tensor {name} as {TYPES}"), format!("type {code}")))?;
    Ok(Entry { dims, format, offset: reader.u64(name)? })
}

/// A position in the file's bytes. Every read names what it reads, for the error when the file ends.
struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize, what: &str) -> Result<&'a [u8], Flaw> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let Some(taken) = rest.get(..len) else {
            return Err(Flaw::new(format!("{len} bytes for {what}"), format!("{} before the end", rest.len())));
        };
        self.position += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Flaw> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    fn u32(&mut self, what: &str) -> Result<u32, Flaw> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, Flaw> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn size(&mut self, what: &str) -> Result<usize, Flaw> {
        let size = self.u64(what)?;
        usize::try_from(size).ok().ok_or_else(|| Flaw::new(format!("{what} to fit in memory"), size.to_string()))
    }

    /// Returns a count of things that take at least `min_bytes` each, checked against what is left of the file.
    fn count(&mut self, min_bytes: usize, what: &str) -> Result<usize, Flaw> {
        let count = self.size(what)?;
        let left = self.bytes.len() - self.position;
        if count > left / min_bytes {
            return Err(Flaw::new(format!("{what} to fit in the {left} bytes that are left"), count.to_string()));
        }
        Ok(count)
    }

    fn text(&mut self, what: &str) -> Result<String, Flaw> {
        let len = self.count(1, what)?;
        let bytes = self.take(len, what)?;
        let text = str::from_utf8(bytes).map_err(|error| Flaw::new(format!("{what} in UTF-8"), error.to_string()))?;
        Ok(text.to_owned())
    }

    fn value(&mut self, code: u32, key: &str) -> Result<Value, Flaw> {
        match code {
            7 => Ok(Value::Flag(self.array::<1>(key)? != [0])),
            8 => self.text(key).map(Value::Text),
            9 => self.list(key),
            6 | 12 => self.float(code, key).map(Value::Float),
            _ => self.integer(code, key).map(Value::Integer),
        }
    }

    fn list(&mut self, key: &str) -> Result<Value, Flaw> {
        let code = self.u32(key)?;
        match code {
            8 => self.items(8, key, |reader| reader.text(key)).map(Value::Texts),
            6 => self.items(4, key, |reader| reader.float(code, key)).map(Value::Floats),
            12 => self.items(8, key, |reader| reader.float(code, key)).map(Value::Floats),
            _ => self.items(1, key, |reader| reader.integer(code, key)).map(Value::Integers),
        }
    }

    fn items<T>(
        &mut self,
        min_bytes: usize,
        key: &str,
        item: impl Fn(&mut Self) -> Result<T, Flaw>,
    ) -> Result<Vec<T>, Flaw> {
        let count = self.count(min_bytes, key)?;
        (0..count).map(|_| item(self)).collect()
    }

    fn float(&mut self, code: u32, key: &str) -> Result<f64, Flaw> {
        match code {
            6 => self.array(key).map(|bytes| f64::from(f32::from_le_bytes(bytes))),
            _ => self.array(key).map(f64::from_le_bytes),
        }
    }

    fn integer(&mut self, code: u32, key: &str) -> Result<i64, Flaw> {
        match code {
            0 | 7 => self.array(key).map(|bytes| i64::from(u8::from_le_bytes(bytes))),
            1 => self.array(key).map(|bytes| i64::from(i8::from_le_bytes(bytes))),
            2 => self.array(key).map(|bytes| i64::from(u16::from_le_bytes(bytes))),
            3 => self.array(key).map(|bytes| i64::from(i16::from_le_bytes(bytes))),
            4 => self.array(key).map(|bytes| i64::from(u32::from_le_bytes(bytes))),
            5 => self.array(key).map(|bytes| i64::from(i32::from_le_bytes(bytes))),
            10 => {
                let value = self.u64(key)?;
                i64::try_from(value).ok().ok_or_else(|| Flaw::new(format!("{key} below 2^63"), value.to_string()))
            }
            11 => self.array(key).map(i64::from_le_bytes),
            _ => Err(Flaw::new(format!("{key} of a known type"), format!("type {code}"))),
        }
    }
}
