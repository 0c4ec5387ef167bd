use super::canvas::{Canvas, Rgba};

/// One glyph: polylines on a grid of 4 columns and 6 rows.
type Strokes = &'static [&'static [[u8; 2]]];

/// Columns from one letter to the next, on the same grid.
const ADVANCE: f32 = 6.0;

/// Writes `text` from the top left corner `at`; a letter is `height` high. Letters that the board does not use stay blank.
pub(super) fn write(canvas: &mut Canvas, text: &str, [x, y]: [f32; 2], height: f32, ink: Rgba) {
    let unit = height / 6.0;
    for (i, letter) in text.chars().enumerate() {
        let left = x + i as f32 * ADVANCE * unit;
        for stroke in strokes(letter) {
            let points: Vec<_> = stroke
                .iter()
                .map(|&[column, row]| [left + f32::from(column) * unit, y + f32::from(row) * unit])
                .collect();
            canvas.line(&points, (0.9 * unit).max(0.8), ink);
        }
    }
}

fn strokes(letter: char) -> Strokes {
    match letter {
        '-' => &[&[[1, 3], [3, 3]]],
        '0' | 'O' => &[&[[1, 0], [3, 0], [4, 1], [4, 5], [3, 6], [1, 6], [0, 5], [0, 1], [1, 0]]],
        '1' => &[&[[1, 1], [2, 0], [2, 6]], &[[1, 6], [3, 6]]],
        '2' => &[&[[0, 1], [1, 0], [3, 0], [4, 1], [4, 2], [0, 6], [4, 6]]],
        '4' => &[&[[3, 6], [3, 0], [0, 4], [4, 4]]],
        '7' => &[&[[0, 0], [4, 0], [1, 6]]],
        'A' => &[&[[0, 6], [2, 0], [4, 6]], &[[1, 4], [3, 4]]],
        'C' => &[&[[4, 1], [3, 0], [1, 0], [0, 1], [0, 5], [1, 6], [3, 6], [4, 5]]],
        'E' => &[&[[4, 0], [0, 0], [0, 6], [4, 6]], &[[0, 3], [3, 3]]],
        'J' => &[&[[4, 0], [4, 5], [3, 6], [1, 6], [0, 5]]],
        'L' => &[&[[0, 0], [0, 6], [4, 6]]],
        'P' => &[&[[0, 6], [0, 0], [3, 0], [4, 1], [4, 2], [3, 3], [0, 3]]],
        'R' => &[&[[0, 6], [0, 0], [3, 0], [4, 1], [4, 2], [3, 3], [0, 3]], &[[2, 3], [4, 6]]],
        'U' => &[&[[0, 0], [0, 5], [1, 6], [3, 6], [4, 5], [4, 0]]],
        'V' => &[&[[0, 0], [2, 6], [4, 0]]],
        'Y' => &[&[[0, 0], [2, 3], [4, 0]], &[[2, 3], [2, 6]]],
        _ => &[],
    }
}
