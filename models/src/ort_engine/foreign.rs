//! Graphs that others have made: what they take and give is checked before they run, and again what they have given.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

use half::f16;
use ort::{
    session::Session,
    value::{DynValue, Outlet, Tensor, TensorElementType},
};

use crate::ModelError;

use super::{OrtEngine, SessionConfig};

/// How wide the floats of an input or output are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floats {
    Single,
    Half,
}

/// An input or output as it should be; `None` stands for a dimension that varies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Port<'a> {
    pub(crate) name: &'a str,
    pub(crate) dims: &'a [Option<usize>],
}

/// A graph that others have made.
#[derive(Debug)]
pub(crate) struct ForeignGraph {
    pub(crate) session: Session,
    path: PathBuf,
}

impl Floats {
    /// Returns a tensor of shape `dims` that holds `values`.
    pub(crate) fn tensor(self, dims: &[usize], values: Vec<f32>) -> Result<DynValue, ort::Error> {
        Ok(match self {
            Self::Single => Tensor::from_array((dims, values))?.into_dyn(),
            Self::Half => {
                let values: Vec<f16> = values.into_iter().map(f16::from_f32).collect();
                Tensor::from_array((dims, values))?.into_dyn()
            }
        })
    }

    /// Returns the last `len` floats of `value`, all where it has no more.
    pub(crate) fn read_last(self, value: &DynValue, len: usize) -> Result<Vec<f32>, ort::Error> {
        Ok(match self {
            Self::Single => last(value.try_extract_tensor::<f32>()?.1, len).to_vec(),
            Self::Half => last(value.try_extract_tensor::<f16>()?.1, len).iter().map(|value| value.to_f32()).collect(),
        })
    }

    /// Returns `value`, `[1, heads, past, head_dim]`, with only the first `len` of its past.
    pub(crate) fn first_of_past(self, value: &DynValue, len: usize) -> Result<DynValue, ort::Error> {
        Ok(match self {
            Self::Single => {
                let (shape, values) = value.try_extract_tensor::<f32>()?;
                Tensor::from_array(cut(shape, values, len))?.into_dyn()
            }
            Self::Half => {
                let (shape, values) = value.try_extract_tensor::<f16>()?;
                Tensor::from_array(cut(shape, values, len))?.into_dyn()
            }
        })
    }
}

fn last<T>(values: &[T], len: usize) -> &[T] {
    &values[values.len().saturating_sub(len)..]
}

fn cut<T: Copy>(shape: &[i64], values: &[T], len: usize) -> (Vec<usize>, Vec<T>) {
    let mut dims: Vec<usize> = shape.iter().map(|&dim| dim as usize).collect();
    let (past, head_dim) = (dims[2], dims[3]);
    dims[2] = len;
    let heads = values.chunks_exact((past * head_dim).max(1));
    (dims, heads.flat_map(|head| &head[..len * head_dim]).copied().collect())
}

impl ForeignGraph {
    /// Returns the graph in the file at `path`.
    ///
    /// # Errors
    /// When the file cannot be read or ONNX Runtime refuses it.
    pub(crate) fn open(engine: &OrtEngine, path: &Path, config: SessionConfig) -> Result<Self, ModelError> {
        Ok(Self { session: engine.session_from_file(path, config)?, path: path.to_owned() })
    }

    /// Returns the width of the floats of an input.
    ///
    /// # Errors
    /// When there is no such input, or it has another type or shape.
    pub(crate) fn float_input(&self, port: Port<'_>) -> Result<Floats, ModelError> {
        let input = self.find("input", self.session.inputs(), port)?.1;
        self.floats(("input", port), input)
    }

    /// Checks an input that takes elements of type `kind`.
    ///
    /// # Errors
    /// As [`Self::float_input`].
    pub(crate) fn check_input(&self, port: Port<'_>, kind: TensorElementType) -> Result<(), ModelError> {
        let input = self.find("input", self.session.inputs(), port)?.1;
        if input.dtype().tensor_type() == Some(kind) {
            return Ok(());
        }
        Err(self.flaw(format!("input {} of type {kind}", port.name), input.dtype()))
    }

    /// Returns the index of an output and the width of its floats.
    ///
    /// # Errors
    /// As [`Self::float_input`].
    pub(crate) fn float_output(&self, port: Port<'_>) -> Result<(usize, Floats), ModelError> {
        let (index, output) = self.find("output", self.session.outputs(), port)?;
        Ok((index, self.floats(("output", port), output)?))
    }

    /// Checks that the graph takes nothing but `names`.
    ///
    /// # Errors
    /// When it does.
    pub(crate) fn check_no_more_inputs(&self, names: &[&str]) -> Result<(), ModelError> {
        match self.session.inputs().iter().find(|input| !names.contains(&input.name())) {
            None => Ok(()),
            Some(input) => Err(self.flaw(format!("no inputs but {}", listed(names.iter().copied())), input.name())),
        }
    }

    /// Returns the error of a graph that is not as expected.
    pub(crate) fn flaw(&self, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> ModelError {
        ModelError::malformed(&self.path, expected, found)
    }

    /// Returns a closure that wraps what ONNX Runtime said about a run of the graph.
    pub(crate) fn run_error(&self) -> impl FnOnce(ort::Error) -> ModelError {
        let doing = format!("running {}", self.path.display());
        move |source| ModelError::Runtime { doing, source }
    }

    fn find<'a>(&self, side: &str, ports: &'a [Outlet], port: Port<'_>) -> Result<(usize, &'a Outlet), ModelError> {
        let Some(found) = ports.iter().enumerate().find(|(_, found)| found.name() == port.name) else {
            let names = listed(ports.iter().map(Outlet::name));
            return Err(self.flaw(format!("{side} {}", port.name), format!("only {names}")));
        };
        match found.1.dtype().tensor_shape() {
            Some(shape) if is_as_declared(port.dims, shape) => Ok(found),
            _ => Err(self.flaw(format!("{side} {} of shape {}", port.name, shown(port.dims)), found.1.dtype())),
        }
    }

    fn floats(&self, (side, port): (&str, Port<'_>), found: &Outlet) -> Result<Floats, ModelError> {
        match found.dtype().tensor_type() {
            Some(TensorElementType::Float32) => Ok(Floats::Single),
            Some(TensorElementType::Float16) => Ok(Floats::Half),
            _ => Err(self.flaw(format!("{side} {} of type f32 or f16", port.name), found.dtype())),
        }
    }
}

/// Returns whether a declared shape, -1 where a dimension varies and nothing at all where none is declared, allows `dims`.
fn is_as_declared(dims: &[Option<usize>], declared: &[i64]) -> bool {
    let fits = |(dim, declared): (&Option<usize>, &i64)| {
        *declared < 0 || dim.is_none_or(|dim| usize::try_from(*declared) == Ok(dim))
    };
    declared.is_empty() || dims.len() == declared.len() && dims.iter().zip(declared).all(fits)
}

fn shown(dims: &[Option<usize>]) -> String {
    listed(dims.iter().map(|dim| dim.map_or_else(|| "any".to_owned(), |dim| dim.to_string())))
}

fn listed(words: impl Iterator<Item = impl AsRef<str>>) -> String {
    let mut list = String::new();
    for word in words {
        let comma = if list.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        _ = write!(list, "{comma}{}", word.as_ref());
    }
    list
}
