use std::{collections::HashMap, fmt::Display, fs, io, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::{
    Prepared, Template, TemplateOptions, check_options,
    compare::{Channel, Noise},
    plane::Plane,
};
use crate::{Calibration, ModelError};

/// Names the format; the number changes when old files can no longer be read.
const FORMAT: &str = "loupe.template/1";

pub(super) fn write(template: &Template, path: &Path) -> Result<(), ModelError> {
    let mut tensors = Vec::new();
    for (index, channel) in template.channels.iter().enumerate() {
        let shape = vec![channel.mean.height, channel.mean.width];
        tensors.push((format!("mean.{index}"), shape.clone(), bytes(&channel.mean.values)));
        match &channel.noise {
            Noise::Even(level) => tensors.push((format!("noise.{index}"), vec![1], bytes(&[*level]))),
            Noise::Map(map) => tensors.push((format!("noise.{index}"), shape, bytes(&map.values))),
        }
    }
    let invalid = |message: String| io_error(path, io::Error::new(io::ErrorKind::InvalidData, message));
    let views = tensors
        .iter()
        .map(|(name, shape, data)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), data)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
        .map_err(|error| invalid(error.to_string()))?;
    let metadata = metadata(template).map_err(|error| invalid(error.to_string()))?;
    let buffer = safetensors::serialize(views, Some(metadata)).map_err(|error| invalid(error.to_string()))?;
    // A reader never sees half a template: the rename is one step.
    let partial = path.with_extension("partial");
    fs::write(&partial, buffer).and_then(|()| fs::rename(&partial, path)).map_err(|source| {
        // The first error is the one to report; a leftover that cannot be removed either is overwritten next time.
        fs::remove_file(&partial).ok();
        io_error(path, source)
    })
}

pub(super) fn read(path: &Path) -> Result<Template, ModelError> {
    let buffer = fs::read(path).map_err(|source| io_error(path, source))?;
    let reader = Reader { path };
    let (_, header) = SafeTensors::read_metadata(&buffer).map_err(|error| reader.malformed("safetensors", error))?;
    let tensors = SafeTensors::deserialize(&buffer).map_err(|error| reader.malformed("safetensors", error))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    reader.check_format(&metadata)?;
    let options: TemplateOptions = reader.json(&metadata, "options")?;
    check_options(&options)?;
    let calibration: Option<Calibration> = reader.json(&metadata, "calibration")?;
    let channels = reader.channels(&tensors)?;
    Ok(Template { prepared: Prepared::new(&channels, &options), options, channels, calibration })
}

fn metadata(template: &Template) -> Result<HashMap<String, String>, serde_json::Error> {
    Ok(HashMap::from([
        ("format".to_owned(), FORMAT.to_owned()),
        ("options".to_owned(), serde_json::to_string(&template.options)?),
        ("calibration".to_owned(), serde_json::to_string(&template.calibration)?),
    ]))
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn io_error(path: &Path, source: io::Error) -> ModelError {
    ModelError::Io { path: path.to_owned(), source }
}

struct Reader<'a> {
    path: &'a Path,
}

impl Reader<'_> {
    fn malformed(&self, expected: impl Display, found: impl Display) -> ModelError {
        ModelError::Malformed { path: self.path.to_owned(), expected: expected.to_string(), found: found.to_string() }
    }

    fn check_format(&self, metadata: &HashMap<String, String>) -> Result<(), ModelError> {
        match metadata.get("format").map(String::as_str) {
            Some(FORMAT) => Ok(()),
            other => Err(self.malformed(format!("format {FORMAT}"), other.unwrap_or("none"))),
        }
    }

    fn json<T: serde::de::DeserializeOwned>(
        &self,
        metadata: &HashMap<String, String>,
        key: &str,
    ) -> Result<T, ModelError> {
        let text = metadata.get(key).ok_or_else(|| self.malformed(format!("metadata key {key}"), "none"))?;
        serde_json::from_str(text).map_err(|error| self.malformed(format!("{key} as JSON"), error))
    }

    fn channels(&self, tensors: &SafeTensors<'_>) -> Result<Vec<Channel>, ModelError> {
        let count = tensors.names().iter().filter(|name| name.starts_with("mean.")).count();
        if count != 1 && count != 3 {
            return Err(self.malformed("1 or 3 tensors mean.*", count));
        }
        let channels = (0..count).map(|index| self.channel(tensors, index)).collect::<Result<Vec<_>, _>>()?;
        match channels.iter().find(|channel| channel.mean.size() != channels[0].mean.size()) {
            Some(other) => Err(self.malformed(format!("planes of {}", channels[0].mean.size()), other.mean.size())),
            None => Ok(channels),
        }
    }

    fn channel(&self, tensors: &SafeTensors<'_>, index: usize) -> Result<Channel, ModelError> {
        let (shape, values) = self.tensor(tensors, &format!("mean.{index}"))?;
        let &[height, width] = shape.as_slice() else {
            return Err(self.malformed(format!("mean.{index} of 2 dimensions"), shape.len()));
        };
        if height.min(width) < super::MIN_SIDE_PX as usize {
            return Err(self.malformed(format!("mean.{index} of 16 x 16 or more"), format!("{width} x {height}")));
        }
        let name = format!("noise.{index}");
        let (noise_shape, noise) = self.tensor(tensors, &name)?;
        if let Some(level) = noise.iter().find(|&&level| level <= 0.0) {
            return Err(self.malformed(format!("{name} above 0"), level));
        }
        let mean = Plane { width, height, values };
        match noise_shape.as_slice() {
            &[1] => Ok(Channel { mean, noise: Noise::Even(noise[0]) }),
            same if same == shape => Ok(Channel { mean, noise: Noise::Map(Plane { width, height, values: noise }) }),
            other => Err(self.malformed(format!("{name} of shape [1] or {shape:?}"), format!("{other:?}"))),
        }
    }

    /// Returns shape and values of a tensor of finite f32.
    fn tensor(&self, tensors: &SafeTensors<'_>, name: &str) -> Result<(Vec<usize>, Vec<f32>), ModelError> {
        let view = tensors.tensor(name).map_err(|error| self.malformed(format!("tensor {name}"), error))?;
        if view.dtype() != Dtype::F32 {
            return Err(self.malformed(format!("tensor {name} of type F32"), format!("{:?}", view.dtype())));
        }
        let values: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        match values.iter().find(|v| !v.is_finite()) {
            Some(value) => Err(self.malformed(format!("finite numbers in {name}"), value)),
            None => Ok((view.shape().to_vec(), values)),
        }
    }
}
