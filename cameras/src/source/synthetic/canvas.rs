use tiny_skia::{
    Color, FillRule, GradientStop, LineCap, LineJoin, LinearGradient, Paint, Path, PathBuilder, Pixmap, Point,
    RadialGradient, Rect, Shader, SpreadMode, Stroke, Transform,
};

/// Red, green, blue, opacity in 0..=255.
pub(super) type Rgba = [u8; 4];

/// Returns an opaque colour.
pub(super) const fn rgb(red: u8, green: u8, blue: u8) -> Rgba {
    [red, green, blue, 255]
}

/// A drawing surface in board coordinates; `frame_from_board` places them in the picture.
pub(super) struct Canvas {
    pixmap: Pixmap,
    frame_from_board: Transform,
}

impl Canvas {
    /// Returns a canvas filled with `background`.
    pub(super) fn new(width_px: u32, height_px: u32, background: Rgba, frame_from_board: Transform) -> Self {
        let mut pixmap = Pixmap::new(width_px, height_px).expect("the synthetic frame has a size");
        pixmap.fill(color(background));
        Self { pixmap, frame_from_board }
    }

    /// Returns the picture as red, green, blue rows.
    pub(super) fn into_rgb(self) -> Vec<u8> {
        self.pixmap.pixels().iter().flat_map(|pixel| [pixel.red(), pixel.green(), pixel.blue()]).collect()
    }

    /// Fills a rectangle given by its top left corner and its size.
    pub(super) fn rect(&mut self, [x, y]: [f32; 2], [width, height]: [f32; 2], fill: Rgba) {
        self.polygon(&[[x, y], [x + width, y], [x + width, y + height], [x, y + height]], fill);
    }

    /// Fills a rectangle with a gradient from its first to its second colour, left to right.
    pub(super) fn bar(&mut self, corner: [f32; 2], size: [f32; 2], stops: &[(f32, Rgba)]) {
        let [x, y] = corner;
        if let Some(rect) = Rect::from_xywh(x, y, size[0], size[1]) {
            self.fill(&PathBuilder::from_rect(rect), linear(corner, [x + size[0], y], stops));
        }
    }

    /// Fills a rectangle with rounded corners with a gradient from its top left to its bottom right.
    pub(super) fn panel(&mut self, [x, y]: [f32; 2], [width, height]: [f32; 2], radius: f32, [from, to]: [Rgba; 2]) {
        let (right, bottom) = (x + width, y + height);
        let mut path = PathBuilder::new();
        path.move_to(x + radius, y);
        path.line_to(right - radius, y);
        path.quad_to(right, y, right, y + radius);
        path.line_to(right, bottom - radius);
        path.quad_to(right, bottom, right - radius, bottom);
        path.line_to(x + radius, bottom);
        path.quad_to(x, bottom, x, bottom - radius);
        path.line_to(x, y + radius);
        path.quad_to(x, y, x + radius, y);
        path.close();
        if let Some(path) = path.finish() {
            // A gradient takes several times as long as one colour.
            let shader = if from == to {
                Shader::SolidColor(color(from))
            } else {
                linear([x, y], [right, bottom], &[(0.0, from), (1.0, to)])
            };
            self.fill(&path, shader);
        }
    }

    /// Fills a polygon.
    pub(super) fn polygon(&mut self, points: &[[f32; 2]], fill: Rgba) {
        let mut path = traced(points);
        path.close();
        if let Some(path) = path.finish() {
            self.fill(&path, Shader::SolidColor(color(fill)));
        }
    }

    /// Fills a disc.
    pub(super) fn disc(&mut self, [x, y]: [f32; 2], radius: f32, fill: Rgba) {
        if let Some(path) = PathBuilder::from_circle(x, y, radius) {
            self.fill(&path, Shader::SolidColor(color(fill)));
        }
    }

    /// Fills a disc with a gradient that starts at a highlight up and left of its centre.
    pub(super) fn ball(&mut self, [x, y]: [f32; 2], radius: f32, stops: &[(f32, Rgba)]) {
        let highlight = [x - 0.35 * radius, y - 0.35 * radius];
        if let Some(path) = PathBuilder::from_circle(x, y, radius) {
            self.fill(&path, radial(highlight, 1.5 * radius, stops));
        }
    }

    /// Fills an ellipse that fades out towards its edge.
    pub(super) fn haze(&mut self, [x, y]: [f32; 2], [half_width, half_height]: [f32; 2], fill: Rgba) {
        let [red, green, blue, opacity] = fill;
        let stops = [(0.0, fill), (0.6, [red, green, blue, opacity / 10 * 8]), (1.0, [red, green, blue, 0])];
        let Some(path) = PathBuilder::from_circle(0.0, 0.0, 1.0) else { return };
        let placed = self.frame_from_board.pre_translate(x, y).pre_scale(half_width, half_height);
        let paint = Paint { shader: radial([0.0, 0.0], 1.0, &stops), ..Paint::default() };
        self.pixmap.fill_path(&path, &paint, FillRule::Winding, placed, None);
    }

    /// Draws a line through `points` with round ends.
    pub(super) fn line(&mut self, points: &[[f32; 2]], width: f32, stroke: Rgba) {
        let Some(path) = traced(points).finish() else { return };
        let paint = Paint { shader: Shader::SolidColor(color(stroke)), ..Paint::default() };
        let pen = Stroke { width, line_cap: LineCap::Round, line_join: LineJoin::Round, ..Stroke::default() };
        self.pixmap.stroke_path(&path, &paint, &pen, self.frame_from_board, None);
    }

    fn fill(&mut self, path: &Path, shader: Shader<'_>) {
        let paint = Paint { shader, ..Paint::default() };
        self.pixmap.fill_path(path, &paint, FillRule::Winding, self.frame_from_board, None);
    }
}

fn traced(points: &[[f32; 2]]) -> PathBuilder {
    let mut path = PathBuilder::new();
    for (i, &[x, y]) in points.iter().enumerate() {
        if i == 0 { path.move_to(x, y) } else { path.line_to(x, y) }
    }
    path
}

fn linear([x0, y0]: [f32; 2], [x1, y1]: [f32; 2], stops: &[(f32, Rgba)]) -> Shader<'static> {
    let (start, end) = (Point::from_xy(x0, y0), Point::from_xy(x1, y1));
    LinearGradient::new(start, end, gradient(stops), SpreadMode::Pad, Transform::identity())
        .unwrap_or_else(|| Shader::SolidColor(color(stops[0].1)))
}

fn radial([x, y]: [f32; 2], radius: f32, stops: &[(f32, Rgba)]) -> Shader<'static> {
    let centre = Point::from_xy(x, y);
    RadialGradient::new(centre, 0.0, centre, radius, gradient(stops), SpreadMode::Pad, Transform::identity())
        .unwrap_or_else(|| Shader::SolidColor(color(stops[0].1)))
}

fn gradient(stops: &[(f32, Rgba)]) -> Vec<GradientStop> {
    stops.iter().map(|&(at, stop)| GradientStop::new(at, color(stop))).collect()
}

fn color([red, green, blue, opacity]: Rgba) -> Color {
    Color::from_rgba8(red, green, blue, opacity)
}
