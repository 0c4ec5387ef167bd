//! Builds ONNX models: nodes, constants, inputs and outputs in, the bytes of a `ModelProto` out.
//!
//! Loupe makes its graphs from plain weights with this, so that they use the fused operators of ONNX Runtime
//! (domain [`MICROSOFT`]) which a published export seldom has.

mod proto;
mod weights;

use std::{fs, path::Path};

use prost::Message as _;

use crate::ModelError;

use weights::{DataFile, Weights};

/// The domain of the fused operators that come with ONNX Runtime.
pub const MICROSOFT: &str = "com.microsoft";
/// Version of the standard operator set that graphs are written in.
const OPSET: i64 = 21;
/// The first IR version that goes with operator set 21.
const IR_VERSION: i64 = 10;

/// Element type of a tensor, with the number that ONNX gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Element {
    /// 32-bit float.
    F32 = 1,
    /// Unsigned byte; also the container of packed 4-bit weights.
    U8 = 2,
    /// Signed byte.
    I8 = 3,
    /// 32-bit integer.
    I32 = 6,
    /// 64-bit integer, the type of shapes and indices.
    I64 = 7,
}

/// One dimension of an input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dim {
    /// A size that never changes.
    Fixed(usize),
    /// A size that is known when the graph runs; equal names mean equal sizes.
    Named(&'static str),
}

/// One operator to add to a graph.
#[derive(Debug, Clone)]
pub struct Node(proto::Node);

impl Node {
    /// Returns a node of the standard operator set. An empty input name leaves out an optional input.
    pub fn new<I: AsRef<str>, O: AsRef<str>>(operator: &str, inputs: &[I], outputs: &[O]) -> Self {
        let names = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect::<Vec<_>>();
        let output = names(outputs.iter().map(AsRef::as_ref).collect());
        Self(proto::Node {
            name: output.first().cloned(),
            input: names(inputs.iter().map(AsRef::as_ref).collect()),
            output,
            op_type: Some(operator.to_owned()),
            ..proto::Node::default()
        })
    }

    /// Returns the node moved to another operator domain.
    #[must_use]
    pub fn domain(mut self, domain: &str) -> Self {
        self.0.domain = Some(domain.to_owned());
        self
    }

    /// Returns the node with an integer attribute.
    #[must_use]
    pub fn int(self, name: &str, value: i64) -> Self {
        let kind = proto::AttributeKind::Int;
        self.attribute(name, kind, proto::Attribute { int: Some(value), ..proto::Attribute::default() })
    }

    /// Returns the node with a size as integer attribute.
    #[must_use]
    pub fn size(self, name: &str, value: usize) -> Self {
        self.int(name, wire_size(value))
    }

    /// Returns the node with a list of integers as attribute.
    #[must_use]
    pub fn ints(self, name: &str, values: &[i64]) -> Self {
        let kind = proto::AttributeKind::Ints;
        self.attribute(name, kind, proto::Attribute { ints: values.to_vec(), ..proto::Attribute::default() })
    }

    /// Returns the node with a float attribute.
    #[must_use]
    pub fn float(self, name: &str, value: f32) -> Self {
        let kind = proto::AttributeKind::Float;
        self.attribute(name, kind, proto::Attribute { float: Some(value), ..proto::Attribute::default() })
    }

    /// Returns the node with a list of floats as attribute.
    #[must_use]
    pub fn floats(self, name: &str, values: &[f32]) -> Self {
        let kind = proto::AttributeKind::Floats;
        self.attribute(name, kind, proto::Attribute { floats: values.to_vec(), ..proto::Attribute::default() })
    }

    /// Returns the node with a text attribute.
    #[must_use]
    pub fn string(self, name: &str, value: &str) -> Self {
        let kind = proto::AttributeKind::String;
        let string = Some(value.as_bytes().to_vec());
        self.attribute(name, kind, proto::Attribute { string, ..proto::Attribute::default() })
    }

    fn attribute(mut self, name: &str, kind: proto::AttributeKind, value: proto::Attribute) -> Self {
        self.0.attribute.push(proto::Attribute { name: Some(name.to_owned()), kind: Some(kind.into()), ..value });
        self
    }
}

/// A graph under construction. Nodes run in the order in which they are added.
#[derive(Debug)]
pub struct GraphBuilder {
    graph: proto::Graph,
    weights: Weights,
}

impl GraphBuilder {
    /// Returns an empty graph that keeps its constants inside the model; see [`Self::into_bytes`].
    pub fn inline(name: &str) -> Self {
        Self::with_weights(name, Weights::Inline)
    }

    /// Returns an empty graph that writes its larger constants to `data`, a file beside the model, as they come; ONNX
    /// Runtime maps that file into memory instead of copying it. See [`Self::write`].
    ///
    /// # Errors
    /// When `data` cannot be created.
    pub fn external(name: &str, data: &Path) -> Result<Self, ModelError> {
        Ok(Self::with_weights(name, Weights::External(DataFile::create(data)?)))
    }

    fn with_weights(name: &str, weights: Weights) -> Self {
        Self { graph: proto::Graph { name: Some(name.to_owned()), ..proto::Graph::default() }, weights }
    }

    /// Declares a tensor that the caller gives on each run.
    pub fn input(&mut self, name: &str, element: Element, dims: &[Dim]) {
        self.graph.input.push(value_info(name, element, dims));
    }

    /// Declares a tensor that a run returns; a node must make it.
    pub fn output(&mut self, name: &str, element: Element, dims: &[Dim]) {
        self.graph.output.push(value_info(name, element, dims));
    }

    /// Adds a node.
    pub fn node(&mut self, node: Node) {
        self.graph.node.push(node.0);
    }

    /// Adds a constant of floats, row-major.
    ///
    /// # Errors
    /// When `values` does not fill `dims` or the data file cannot be written.
    pub fn constant_f32(&mut self, name: &str, dims: &[usize], values: &[f32]) -> Result<(), ModelError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, Element::F32, dims, &bytes)
    }

    /// Adds a constant of bytes, row-major.
    ///
    /// # Errors
    /// When `values` does not fill `dims` or the data file cannot be written.
    pub fn constant_u8(&mut self, name: &str, dims: &[usize], values: &[u8]) -> Result<(), ModelError> {
        self.constant(name, Element::U8, dims, values)
    }

    /// Adds a constant of signed bytes, row-major.
    ///
    /// # Errors
    /// When `values` does not fill `dims` or the data file cannot be written.
    pub fn constant_i8(&mut self, name: &str, dims: &[usize], values: &[i8]) -> Result<(), ModelError> {
        let bytes: Vec<u8> = values.iter().map(|value| value.cast_unsigned()).collect();
        self.constant(name, Element::I8, dims, &bytes)
    }

    /// Adds a constant of 32-bit integers, row-major.
    ///
    /// # Errors
    /// When `values` does not fill `dims` or the data file cannot be written.
    pub fn constant_i32(&mut self, name: &str, dims: &[usize], values: &[i32]) -> Result<(), ModelError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, Element::I32, dims, &bytes)
    }

    /// Adds a constant of 64-bit integers, row-major.
    ///
    /// # Errors
    /// When `values` does not fill `dims` or the data file cannot be written.
    pub fn constant_i64(&mut self, name: &str, dims: &[usize], values: &[i64]) -> Result<(), ModelError> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(name, Element::I64, dims, &bytes)
    }

    fn constant(&mut self, name: &str, element: Element, dims: &[usize], bytes: &[u8]) -> Result<(), ModelError> {
        let expected = dims.iter().product::<usize>() * element.size_bytes();
        if bytes.len() != expected {
            return Err(ModelError::Mismatch {
                what: format!("constant {name}"),
                expected: format!("{expected} bytes for shape {dims:?}"),
                found: format!("{} bytes", bytes.len()),
            });
        }
        let mut tensor = proto::Tensor {
            dims: dims.iter().map(|&dim| wire_size(dim)).collect(),
            data_type: Some(element as i32),
            name: Some(name.to_owned()),
            ..proto::Tensor::default()
        };
        self.weights.store(&mut tensor, bytes)?;
        self.graph.initializer.push(tensor);
        Ok(())
    }

    /// Returns the serialised model. A graph made with [`Self::external`] refers to its data file by name only.
    ///
    /// # Errors
    /// When the data file cannot be completed.
    pub fn into_bytes(self) -> Result<Vec<u8>, ModelError> {
        self.weights.finish()?;
        let opset =
            |domain: &str, version| proto::OperatorSet { domain: Some(domain.to_owned()), version: Some(version) };
        let model = proto::Model {
            ir_version: Some(IR_VERSION),
            producer_name: Some("loupe".to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            graph: Some(self.graph),
            opset_import: vec![opset("", OPSET), opset(MICROSOFT, 1)],
        };
        Ok(model.encode_to_vec())
    }

    /// Writes the serialised model to `path`, in the folder of its data file.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(self, path: &Path) -> Result<(), ModelError> {
        let bytes = self.into_bytes()?;
        fs::write(path, bytes).map_err(|source| ModelError::Io { path: path.to_owned(), source })
    }
}

impl Element {
    /// Returns the size of one element in bytes.
    const fn size_bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

/// Returns a size as ONNX writes it; no tensor in memory comes near the limit.
fn wire_size(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

fn value_info(name: &str, element: Element, dims: &[Dim]) -> proto::ValueInfo {
    let dim = dims
        .iter()
        .map(|dim| match *dim {
            Dim::Fixed(size) => proto::Size::Fixed(wire_size(size)),
            Dim::Named(name) => proto::Size::Named(name.to_owned()),
        })
        .map(|size| proto::Dimension { size: Some(size) })
        .collect();
    let tensor = proto::TensorType { element: Some(element as i32), shape: Some(proto::Shape { dim }) };
    proto::ValueInfo { name: Some(name.to_owned()), value_type: Some(proto::ValueType { tensor: Some(tensor) }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add_one() -> GraphBuilder {
        let mut graph = GraphBuilder::inline("add");
        graph.input("x", Element::F32, &[Dim::Named("rows"), Dim::Fixed(2)]);
        graph.output("y", Element::F32, &[Dim::Named("rows"), Dim::Fixed(2)]);
        graph.constant_f32("one", &[2], &[1.0, 2.0]).unwrap();
        graph.node(Node::new("Add", &["x", "one"], &["y"]));
        graph
    }

    #[test]
    fn round_trips_through_the_wire_format() {
        let bytes = add_one().into_bytes().unwrap();
        let model = proto::Model::decode(bytes.as_slice()).unwrap();
        assert_eq!(model.ir_version, Some(IR_VERSION));
        let graph = model.graph.unwrap();
        assert_eq!(graph.node[0].op_type.as_deref(), Some("Add"));
        assert_eq!(graph.initializer[0].raw_data.as_deref(), Some([0, 0, 128, 63, 0, 0, 0, 64].as_slice()));
        // Field 7, length-delimited: the tag by which every ONNX reader finds the graph.
        assert!(bytes.contains(&0x3a));
    }

    #[test]
    fn keeps_small_constants_inside_and_aligns_large_ones() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("weights.bin");
        let mut graph = GraphBuilder::external("big", &data).unwrap();
        graph.constant_u8("small", &[3], &[1, 2, 3]).unwrap();
        graph.constant_u8("first", &[2000], &[7; 2000]).unwrap();
        graph.constant_u8("second", &[2000], &[9; 2000]).unwrap();
        let model = proto::Model::decode(graph.into_bytes().unwrap().as_slice()).unwrap();
        let tensors = model.graph.unwrap().initializer;
        assert!(tensors[0].external_data.is_empty());
        let offset = tensors[2].external_data[1].value.as_deref();
        assert_eq!(offset, Some("4096"));
        let written = fs::read(&data).unwrap();
        assert_eq!((written.len(), written[1999], written[2000], written[4096]), (6096, 7, 0, 9));
    }

    #[test]
    fn refuses_a_constant_that_does_not_fill_its_shape() {
        let error = GraphBuilder::inline("bad").constant_f32("w", &[2, 2], &[0.0; 3]).unwrap_err();
        assert_eq!(error.to_string(), "constant w: expected 16 bytes for shape [2, 2], found 12 bytes");
    }
}
