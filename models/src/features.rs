/// The features of one frame at one scale of the vision encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureMap {
    /// Cells from top to bottom.
    pub rows: usize,
    /// Cells from left to right.
    pub cols: usize,
    /// Numbers that describe one cell.
    pub dim: usize,
    /// `[rows, cols, dim]`, row-major.
    pub values: Vec<f32>,
}

/// What the vision encoder makes of one frame: a map for each scale, finest first. Computed once, used by every later stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// One map a scale, finest first.
    pub maps: Vec<FeatureMap>,
}
