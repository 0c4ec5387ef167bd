use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use crate::{ModelError, hash::hexadecimal, mapped, matrix::Format};

use super::Tensors;

/// The weights of a model that is in one file.
pub(super) const SINGLE_FILE: &str = "model.safetensors";
/// Says which tensor is in which of several files.
pub(super) const INDEX_FILE: &str = "model.safetensors.index.json";

/// What [`super::quantize`] stores matrices in: safetensors has no type for blocks, so they are rows of bytes.
const BLOCK_FORMATS: [Format; 2] = [Format::Q4_1, Format::Q8_0];

/// The tensors of a model folder, read in place through memory maps.
#[derive(Debug)]
pub struct Checkpoint {
    shards: Vec<Shard>,
    /// Tensors by name: which shard, and what its header says.
    tensors: BTreeMap<String, (usize, TensorInfo)>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    map: Mmap,
    header_len: usize,
}

#[derive(Debug, Clone)]
struct TensorInfo {
    dtype: Dtype,
    dims: Vec<usize>,
    bytes: Range<usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Returns the tensors of `folder`: of `model.safetensors`, or of the files that `model.safetensors.index.json` names.
    /// Every size is checked against the length of its file before anything is read.
    ///
    /// # Errors
    /// When a file is absent, cut short or malformed, or the index and the files disagree.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let index = folder.join(INDEX_FILE);
        if index.is_file() { Self::open_sharded(folder, &index) } else { Self::open_files(&[folder.join(SINGLE_FILE)]) }
    }

    fn open_sharded(folder: &Path, index: &Path) -> Result<Self, ModelError> {
        let text = fs::read_to_string(index).map_err(|source| ModelError::Io { path: index.to_owned(), source })?;
        let Index { weight_map } =
            serde_json::from_str(&text).map_err(|error| ModelError::malformed(index, "an index of tensors", error))?;
        if weight_map.is_empty() {
            return Err(ModelError::malformed(index, "an index of tensors", "an empty one"));
        }
        let names: BTreeSet<&String> = weight_map.values().collect();
        if let Some(name) = names.iter().find(|name| Path::new(name).file_name() != Some(name.as_ref())) {
            return Err(ModelError::malformed(index, "names of files in its own folder", name));
        }
        let paths: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
        let checkpoint = Self::open_files(&paths)?;
        for (tensor, file) in &weight_map {
            let found = checkpoint.tensors.get(tensor).map(|(shard, _)| &checkpoint.shards[*shard].path);
            if found != Some(&folder.join(file)) {
                return Err(ModelError::malformed(
                    &folder.join(file),
                    format!("tensor {tensor}, as {INDEX_FILE} says"),
                    "no such tensor",
                ));
            }
        }
        Ok(checkpoint)
    }

    fn open_files(paths: &[PathBuf]) -> Result<Self, ModelError> {
        let mut checkpoint = Self { shards: Vec::new(), tensors: BTreeMap::new() };
        for path in paths {
            checkpoint.add(path)?;
        }
        Ok(checkpoint)
    }

    fn add(&mut self, path: &Path) -> Result<(), ModelError> {
        let map = mapped::map_file(path).map_err(|source| ModelError::Io { path: path.to_owned(), source })?;
        let (header_len, metadata) = SafeTensors::read_metadata(&map)
            .map_err(|error| ModelError::malformed(path, "a whole safetensors file", error))?;
        let data = size_of::<u64>() + header_len;
        for name in metadata.offset_keys() {
            let Some(info) = metadata.info(&name) else { continue };
            let bytes = data + info.data_offsets.0..data + info.data_offsets.1;
            let info = TensorInfo { dtype: info.dtype, dims: info.shape.clone(), bytes };
            if let Some((shard, _)) = self.tensors.insert(name.clone(), (self.shards.len(), info)) {
                let other = self.shards[shard].path.display();
                return Err(ModelError::malformed(
                    path,
                    format!("tensor {name} in one file only"),
                    format!("it is in {other} too"),
                ));
            }
        }
        self.shards.push(Shard { path: path.to_owned(), map, header_len: data });
        Ok(())
    }

    /// Returns each tensor: its name, type, shape and bytes.
    pub(super) fn stored(&self) -> impl Iterator<Item = (&str, Dtype, &[usize], &[u8])> {
        let tensors = self.tensors.iter();
        tensors.map(|(name, (shard, info))| {
            (name.as_str(), info.dtype, info.dims.as_slice(), &self.shards[*shard].map[info.bytes.clone()])
        })
    }
}

impl Tensors for Checkpoint {
    fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    fn locate(&self, name: &str, dims: &[usize]) -> Result<(Format, &[u8]), ModelError> {
        let expected = format!("of shape {dims:?}");
        let Some((shard, info)) = self.tensors.get(name) else {
            return Err(self.flaw(name, &expected, "no such tensor"));
        };
        let blocks = BLOCK_FORMATS.into_iter().find(|&format| is_in_blocks(info, format, dims));
        let format = match info.dtype {
            _ if blocks.is_none() && info.dims != dims => {
                return Err(self.flaw(name, &expected, &format!("{:?}", info.dims)));
            }
            dtype => float_format(dtype)
                .or(blocks)
                .ok_or_else(|| self.flaw(name, "of type F32, F16, BF16 or in blocks of U8", &format!("{dtype:?}")))?,
        };
        Ok((format, &self.shards[*shard].map[info.bytes.clone()]))
    }

    fn flaw(&self, tensor: &str, expected: &str, found: &str) -> ModelError {
        let shard = self.tensors.get(tensor).map_or(0, |(shard, _)| *shard);
        // There is at least one file: opening none is an error.
        ModelError::malformed(&self.shards[shard].path, format!("tensor {tensor} {expected}"), found)
    }

    fn fingerprint(&self) -> Result<String, ModelError> {
        let mut hash = Sha256::new();
        for shard in &self.shards {
            let failed = |source| ModelError::Io { path: shard.path.clone(), source };
            let modified = fs::metadata(&shard.path).and_then(|metadata| metadata.modified()).map_err(failed)?;
            hash.update(&shard.map[..shard.header_len]);
            hash.update(format!("{} {modified:?}", shard.map.len()));
        }
        Ok(hexadecimal(&hash.finalize()))
    }
}

/// Returns how floats of a type are stored, `None` where it is no type of floats that Loupe knows.
pub(super) const fn float_format(dtype: Dtype) -> Option<Format> {
    match dtype {
        Dtype::F32 => Some(Format::F32),
        Dtype::F16 => Some(Format::F16),
        Dtype::BF16 => Some(Format::Bf16),
        _ => None,
    }
}

/// Returns whether a tensor is a matrix of shape `dims` in blocks of `format`.
fn is_in_blocks(info: &TensorInfo, format: Format, dims: &[usize]) -> bool {
    let [rows, row_len] = *dims else { return false };
    info.dtype == Dtype::U8 && format.bytes_for(row_len).is_some_and(|row_bytes| info.dims == [rows, row_bytes])
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use safetensors::{serialize_to_file, tensor::TensorView};

    use super::*;
    use crate::fuzz::Target;

    fn write(path: &Path, tensors: &[(&str, Dtype, &[usize], &[u8])]) {
        let views = tensors.iter().map(|&(name, dtype, dims, bytes)| {
            (name.to_owned(), TensorView::new(dtype, dims.to_vec(), bytes).unwrap())
        });
        serialize_to_file(views.collect::<HashMap<_, _>>(), None, path).unwrap();
    }

    /// 1.5 and -2.0 in three types.
    const F32: [u8; 8] = [0, 0, 0xc0, 0x3f, 0, 0, 0, 0xc0];
    const F16: [u8; 4] = [0, 0x3e, 0, 0xc0];
    const BF16: [u8; 4] = [0xc0, 0x3f, 0, 0xc0];

    #[test]
    fn reads_every_float_type_and_refuses_the_rest() {
        let folder = tempfile::tempdir().unwrap();
        let tensors: [(&str, Dtype, &[usize], &[u8]); 5] = [
            ("a", Dtype::F32, &[1, 2], &F32),
            ("b", Dtype::F16, &[1, 2], &F16),
            ("c", Dtype::BF16, &[1, 2], &BF16),
            ("i", Dtype::I8, &[2], &[1, 2]),
            ("nan", Dtype::F16, &[2], &[0, 0x3e, 0xff, 0xff]),
        ];
        write(&folder.path().join(SINGLE_FILE), &tensors);
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        for name in ["a", "b", "c"] {
            assert_eq!(checkpoint.read(name, &[1, 2]).unwrap(), [1.5, -2.0], "{name}");
        }
        let cases = [
            ("a", &[2][..], "expected tensor a of shape [2], found [1, 2]"),
            ("z", &[2][..], "expected tensor z of shape [2], found no such tensor"),
            ("i", &[2][..], "expected tensor i of type F32, F16, BF16 or in blocks of U8, found I8"),
            ("nan", &[2][..], "expected tensor nan to be finite, found NaN"),
        ];
        for (name, dims, expected) in cases {
            let error = checkpoint.read(name, dims).unwrap_err().to_string();
            assert!(error.ends_with(expected), "{error}");
        }
    }

    #[test]
    fn finds_tensors_in_shards_and_says_when_they_disagree() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["1.safetensors", "2.safetensors"].map(|name| folder.path().join(name));
        write(&first, &[("a", Dtype::F32, &[2], &F32)]);
        write(&second, &[("b", Dtype::F16, &[2], &F16)]);
        let index =
            |map: &str| fs::write(folder.path().join(INDEX_FILE), format!("{{\"weight_map\": {map}}}")).unwrap();
        index(r#"{"a": "1.safetensors", "b": "2.safetensors"}"#);
        let checkpoint = Checkpoint::open(folder.path()).unwrap();
        assert_eq!(checkpoint.read("b", &[2]).unwrap(), [1.5, -2.0]);
        let cases = [
            (r#"{"a": "2.safetensors", "b": "2.safetensors"}"#, "tensor a, as model.safetensors.index.json says"),
            (r#"{"a": "1.safetensors", "b": "3.safetensors"}"#, "3.safetensors: "),
            (r#"{"a": "../1.safetensors"}"#, "names of files in its own folder, found ../1.safetensors"),
            ("[]", "expected an index of tensors"),
            ("{}", "expected an index of tensors, found an empty one"),
        ];
        for (map, expected) in cases {
            index(map);
            let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        write(&second, &[("a", Dtype::F32, &[2], &F32)]);
        index(r#"{"a": "1.safetensors", "x": "2.safetensors"}"#);
        let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("expected tensor a in one file only"), "{error}");
    }

    #[test]
    #[ignore = "runs for as long as one asks: see crate::fuzz"]
    fn fuzz_safetensors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SINGLE_FILE);
        write(
            &path,
            &[("a", Dtype::F32, &[2], &F32), ("b", Dtype::F16, &[1, 2], &F16), ("c", Dtype::BF16, &[2], &BF16)],
        );
        let words = [
            "{",
            "[",
            "\"a\":",
            "dtype",
            "F32",
            "data_offsets",
            "shape",
            ",",
            "18446744073709551615",
            "-1",
            "__metadata__",
        ];
        let target =
            Target { file: SINGLE_FILE, interesting_len: 220, seeds: vec![fs::read(path).unwrap()], words: &words };
        target.run(read_all);
    }

    #[test]
    #[ignore = "runs for as long as one asks: see crate::fuzz"]
    fn fuzz_index() {
        let words = ["{", "[", "\"a\":", "weight_map", "1.safetensors", "2.safetensors", "../", ",", "\"", "null"];
        let seed = br#"{"metadata": {"total_size": 12}, "weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}"#;
        let target =
            Target { file: INDEX_FILE, interesting_len: seed.len(), seeds: vec![seed.to_vec()], words: &words };
        target.run(|path| {
            write(&path.with_file_name("1.safetensors"), &[("a", Dtype::F32, &[2], &F32)]);
            write(&path.with_file_name("2.safetensors"), &[("b", Dtype::F16, &[2], &F16)]);
            read_all(path)
        });
    }

    /// Reads every tensor of the checkpoint in the folder of `path`.
    fn read_all(path: &Path) -> Result<(), ModelError> {
        let checkpoint = Checkpoint::open(&path.with_file_name(""))?;
        for (name, (_, info)) in &checkpoint.tensors {
            let len = info.dims.iter().product::<usize>();
            assert_eq!(checkpoint.read(name, &info.dims)?.len(), len);
        }
        checkpoint.fingerprint().map(drop)
    }

    #[test]
    fn refuses_what_is_cut_short_anywhere() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(SINGLE_FILE);
        write(&path, &[("a", Dtype::F32, &[2], &F32)]);
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let error = Checkpoint::open(folder.path()).unwrap_err().to_string();
            assert!(error.contains("model.safetensors"), "{len}: {error}");
        }
        fs::write(&path, [&[0xff; 8][..], &whole[8..]].concat()).unwrap();
        assert!(Checkpoint::open(folder.path()).unwrap_err().to_string().contains("a whole safetensors file"));
    }
}
