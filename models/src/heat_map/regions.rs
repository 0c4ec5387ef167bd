//! From a heat map to its connected hot parts.

use cameras::{Rect, Size};

use crate::{HeatMap, Region};

/// Smallest side of the grid that regions are found on, in cells a cell of the map: edges finer than the map's own cells.
const REGION_FINENESS: u32 = 4;
/// More regions than this say no more than that the frame is strange.
const MAX_REGIONS: usize = 16;

impl HeatMap {
    /// Returns the connected parts of the map above its threshold, strongest first, in pixels of a frame of size `frame`; none where the
    /// values do not fill the map's size.
    pub fn regions(&self, frame: Size) -> Vec<Region> {
        let side = |cells: u32, side_px: u32| (cells * REGION_FINENESS).clamp(1, side_px.max(1));
        let fine = Size::new(side(self.size.width_px, frame.width_px), side(self.size.height_px, frame.height_px));
        let Some(fine) = self.resized(fine) else { return Vec::new() };
        let mut seen = vec![false; fine.values.len()];
        let mut found = Vec::new();
        for start in 0..fine.values.len() {
            if !seen[start] && fine.values[start] > fine.threshold {
                let cells = component(&fine, start, &mut seen);
                found.push(region(&fine, &cells, frame));
            }
        }
        found.sort_by(|a, b| b.score.total_cmp(&a.score));
        found.truncate(MAX_REGIONS);
        found
    }
}

/// Returns the cells above the threshold that touch each other, by side or corner, from `start` on.
fn component(map: &HeatMap, start: usize, seen: &mut [bool]) -> Vec<usize> {
    let [rows, cols] = [map.size.height_px, map.size.width_px].map(|side| side as usize);
    let mut cells = vec![start];
    seen[start] = true;
    let mut next = 0;
    while let Some(&cell) = cells.get(next) {
        next += 1;
        let (row, col) = (cell / cols, cell % cols);
        for row in row.saturating_sub(1)..=(row + 1).min(rows - 1) {
            for col in col.saturating_sub(1)..=(col + 1).min(cols - 1) {
                let neighbour = row * cols + col;
                if !seen[neighbour] && map.values[neighbour] > map.threshold {
                    seen[neighbour] = true;
                    cells.push(neighbour);
                }
            }
        }
    }
    cells
}

fn region(map: &HeatMap, cells: &[usize], frame: Size) -> Region {
    let cols = map.size.width_px as usize;
    let across = f64::from(frame.width_px) / f64::from(map.size.width_px);
    let down = f64::from(frame.height_px) / f64::from(map.size.height_px);
    let bounds = |position: &dyn Fn(usize) -> usize, scale: f64| {
        let (first, last) = cells
            .iter()
            .map(|&cell| position(cell))
            .fold((usize::MAX, 0), |(first, last), at| (first.min(at), last.max(at)));
        let start = (first as f64 * scale).floor() as u32;
        (start, ((last + 1) as f64 * scale).ceil() as u32 - start)
    };
    let (x, width) = bounds(&|cell| cell % cols, across);
    let (y, height) = bounds(&|cell| cell / cols, down);
    let score = cells.iter().map(|&cell| map.values[cell]).fold(0.0, f32::max);
    let area_px = (cells.len() as f64 * across * down).round() as u64;
    Region { rect: Rect { x, y, width, height }, score, area_px, code: None, probability: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_spot(size: Size, spot: usize, threshold: f32) -> HeatMap {
        let mut map = HeatMap { size, values: vec![0.5; size.area_px()], threshold };
        map.values[spot] = 10.0;
        map
    }

    #[test]
    fn finds_a_spot_where_it_is() {
        let map = with_spot(Size::new(20, 10), 2 * 20 + 15, 5.0);
        let found = map.regions(Size::new(400, 100));
        let [region] = found.as_slice() else { panic!("{found:?}") };
        let Rect { x, y, width, height } = region.rect;
        // The cell covers x 300..320, y 20..30 of the frame.
        assert!((300..=320).contains(&(x + width / 2)) && (20..=30).contains(&(y + height / 2)), "{region:?}");
        assert!(region.area_px > 50 && region.area_px <= region.rect.area_px(), "{region:?}");
        assert!(HeatMap { threshold: 11.0, ..map }.regions(Size::new(400, 100)).is_empty());
    }

    #[test]
    fn orders_regions_by_strength_and_stays_inside() {
        let mut map = with_spot(Size::new(10, 10), 0, 4.0);
        map.values[99] = 20.0;
        let found = map.regions(Size::new(33, 17));
        assert_eq!(found.len(), 2);
        assert!(found[0].score > found[1].score);
        for Region { rect, .. } in found {
            assert!(rect.x + rect.width <= 33 && rect.y + rect.height <= 17, "{rect:?}");
        }
    }
}
