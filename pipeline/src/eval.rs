//! `loupe eval`: how well a gate judges a labelled set of images.

pub mod metrics;
