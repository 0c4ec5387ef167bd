use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One camera: what kind it is and how it is set up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CameraConfig {
    /// Pictures from files and folders.
    Folder(FolderConfig),
}

/// Pictures from files and folders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FolderConfig {
    /// Files and folders, taken in this order. A file named here is always tried; inside a folder hidden files and names
    /// without a picture's extension are ignored.
    pub paths: Vec<PathBuf>,
    /// Whether the folders are read once or watched for new pictures.
    #[serde(default)]
    pub mode: FolderMode,
    /// Whether folders inside the folders are read too.
    #[serde(default)]
    pub recursive: bool,
}

/// When a folder source is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FolderMode {
    /// When every picture that was there at the start has been taken.
    #[default]
    Once,
    /// Never: new and rewritten pictures are taken as soon as their writer is done with them.
    Watch,
}
