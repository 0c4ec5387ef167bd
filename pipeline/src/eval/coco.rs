//! The JSON of COCO: labels as they are read and written, detections as they are written.

use serde::{Deserialize, Serialize};

mod export;

pub(super) use export::write;

/// A file of labels. What else it may hold (`info`, `licenses`) is passed over.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Labels {
    #[serde(skip_deserializing)]
    pub(super) info: Info,
    pub(super) images: Vec<Image>,
    pub(super) annotations: Vec<Annotation>,
    pub(super) categories: Vec<Category>,
}

#[derive(Debug, Default, Serialize)]
pub(super) struct Info {
    pub(super) description: String,
}

/// A picture.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Image {
    pub(super) id: u64,
    pub(super) file_name: String,
    pub(super) width: u32,
    pub(super) height: u32,
}

/// A labelled object.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Annotation {
    pub(super) id: u64,
    pub(super) image_id: u64,
    pub(super) category_id: u64,
    /// `x, y, width, height` in pixels, where the file is right.
    pub(super) bbox: Vec<f64>,
    #[serde(default)]
    pub(super) area: f64,
    /// 1 for a crowd that is not told into objects.
    #[serde(default)]
    pub(super) iscrowd: u8,
    /// Polygons of `x, y` in pixels.
    #[serde(default, skip_deserializing)]
    pub(super) segmentation: Vec<[u32; 8]>,
}

/// What an object may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Category {
    /// Its number in the file.
    pub id: u64,
    /// Its name.
    pub name: String,
}

/// A found object.
#[derive(Debug, Serialize)]
pub(super) struct Detection {
    pub(super) image_id: u64,
    pub(super) category_id: u64,
    /// `x, y, width, height` in pixels.
    pub(super) bbox: [u32; 4],
    pub(super) score: f64,
}
