//! Which parts of a picture deserve a frame of their own.

use cameras::{Place, Rect, Size};

use crate::{GateReading, HeatMap};

/// What is shown around a region on each side, as a share of its longer side: a defect is told from its surroundings.
const MARGIN: f64 = 0.25;
/// A frame that enlarges less than this shows nothing that the frame of the whole picture does not.
const LEAST_GAIN: f64 = 4.0 / 3.0;
/// What stays below this share of the heat map's threshold is no reason to look closer.
const LEAST_HEAT: f32 = 0.5;

/// What there is to cut crops from and with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    pub(super) picture: Size,
    /// Smallest side of a crop.
    pub(super) finest_px: u32,
    /// How many crops there may be.
    pub(super) crops: usize,
}

/// Returns crops that show what `reading` found strange, strongest first.
///
/// Each region gets a square, as large as itself with a margin but not too fine, and moved into the picture. A region takes none
/// where it fits into an earlier one, or where the whole picture shows it as large. What is left of the budget goes to the
/// hottest places outside of all crops, also below the threshold: that one keeps good parts from being called bad, and a second
/// defect is easily missed by it.
pub(super) fn crops(reading: &GateReading, budget: Budget) -> Vec<Rect> {
    let mut views = Views { budget, shown: Vec::new() };
    for region in &reading.regions {
        views.show(region.rect);
    }
    while views.shown.len() < budget.crops {
        let hottest = hottest_outside(&views.crops(), &reading.heat_map, budget.picture);
        if !hottest.is_some_and(|place| views.show(place)) {
            break;
        }
    }
    views.crops()
}

/// What is to be shown, each in a crop of its own.
struct Views {
    budget: Budget,
    shown: Vec<Rect>,
}

impl Views {
    /// Adds `place`, to an earlier crop where that need not grow for it. Returns whether it is shown now.
    fn show(&mut self, place: Rect) -> bool {
        let holds = |&earlier: &Rect| self.side_px(around(earlier, place)) <= self.side_px(earlier);
        if let Some(index) = self.shown.iter().position(holds) {
            self.shown[index] = around(self.shown[index], place);
            return true;
        }
        let Budget { picture, crops, .. } = self.budget;
        let longest_px = f64::from(picture.width_px.max(picture.height_px));
        let is_worth_it = f64::from(self.side_px(place)) * LEAST_GAIN <= longest_px && self.shown.len() < crops;
        if is_worth_it {
            self.shown.push(place);
        }
        is_worth_it
    }

    /// Returns the side of the crop of `shown`.
    fn side_px(&self, shown: Rect) -> u32 {
        side_px(shown).max(self.budget.finest_px)
    }

    fn crops(&self) -> Vec<Rect> {
        let crop = |&rect: &Rect| Place { rect, side_px: self.side_px(rect) }.shown(self.budget.picture);
        self.shown.iter().map(crop).collect()
    }
}

/// Returns the hottest cell of `heat_map` whose middle is in none of `crops`, in pixels of the picture.
fn hottest_outside(crops: &[Rect], heat_map: &HeatMap, picture: Size) -> Option<Rect> {
    let HeatMap { size, values, threshold } = heat_map;
    let mut hottest = (LEAST_HEAT * threshold, None);
    for (index, &value) in values.iter().enumerate() {
        if value > hottest.0 {
            let (row, col) = (index as u32 / size.width_px, index as u32 % size.width_px);
            let (x, width) = bounds(col, size.width_px, picture.width_px);
            let (y, height) = bounds(row, size.height_px, picture.height_px);
            let cell = Rect { x, y, width, height };
            if !crops.iter().any(|&crop| holds_middle(crop, cell)) {
                hottest = (value, Some(cell));
            }
        }
    }
    hottest.1
}

/// Returns where cell `cell` of `cells` begins on a side of `side_px`, and its length, 1 or more.
fn bounds(cell: u32, cells: u32, side_px: u32) -> (u32, u32) {
    let edge = |cell: u32| (u64::from(cell) * u64::from(side_px) / u64::from(cells)) as u32;
    (edge(cell), (edge(cell + 1) - edge(cell)).max(1))
}

fn holds_middle(crop: Rect, cell: Rect) -> bool {
    (crop.x..crop.x + crop.width).contains(&(cell.x + cell.width / 2))
        && (crop.y..crop.y + crop.height).contains(&(cell.y + cell.height / 2))
}

/// Returns the side of a square that holds `shown` and its margin.
fn side_px(shown: Rect) -> u32 {
    (f64::from(shown.width.max(shown.height)) * (1.0 + 2.0 * MARGIN)).ceil() as u32
}

/// Returns the box around both.
fn around(first: Rect, second: Rect) -> Rect {
    let span = |start: [u32; 2], length: [u32; 2]| {
        let low = start[0].min(start[1]);
        (low, (start[0] + length[0]).max(start[1] + length[1]) - low)
    };
    let (x, width) = span([first.x, second.x], [first.width, second.width]);
    let (y, height) = span([first.y, second.y], [first.height, second.height]);
    Rect { x, y, width, height }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Region;

    const PICTURE: Size = Size::new(640, 480);

    fn rect(x: u32, y: u32, width: u32, height: u32) -> Rect {
        Rect { x, y, width, height }
    }

    /// Returns the crops of `regions` on a map without heat.
    fn of_regions(regions: &[Rect], picture: Size, (finest_px, crops): (u32, usize)) -> Vec<Rect> {
        of_reading(regions, [0.0; 12], Budget { picture, finest_px, crops })
    }

    fn of_reading(regions: &[Rect], heat: [f32; 12], budget: Budget) -> Vec<Rect> {
        let region = |&rect: &Rect| Region { rect, score: 2.0, area_px: 1, code: None, probability: None };
        let heat_map = HeatMap { size: Size::new(4, 3), values: heat.to_vec(), threshold: 1.0 };
        let regions = regions.iter().map(region).collect();
        crops(&GateReading { score: 2.0, threshold: 1.0, p_value: None, heat_map, regions }, budget)
    }

    #[test]
    fn a_region_is_shown_with_its_surroundings() {
        let cases = [
            // Small: as fine as the model's own tiles.
            (rect(300, 200, 20, 10), rect(230, 125, 160, 160)),
            // Large: with a quarter of its longer side on each side.
            (rect(200, 100, 240, 40), rect(140, 0, 360, 360)),
            // In a corner: moved in.
            (rect(630, 470, 10, 10), rect(480, 320, 160, 160)),
        ];
        for (region, expected) in cases {
            assert_eq!(of_regions(&[region], PICTURE, (160, 3)), [expected]);
        }
    }

    #[test]
    fn what_the_whole_picture_shows_as_large_takes_no_crop() {
        assert_eq!(of_regions(&[rect(0, 0, 400, 10), rect(0, 0, 640, 480)], PICTURE, (160, 3)), []);
        // A picture of one tile cannot be enlarged.
        assert_eq!(of_regions(&[rect(0, 0, 9, 9)], Size::new(100, 40), (100, 3)), []);
    }

    #[test]
    fn neighbours_share_a_crop_and_the_budget_goes_to_the_first() {
        let [first, near, far, farther] =
            [rect(100, 100, 10, 10), rect(150, 100, 10, 10), rect(400, 300, 10, 10), rect(600, 10, 10, 10)];
        let shown = of_regions(&[first, far, near, farther], PICTURE, (160, 2));
        assert_eq!(shown, [rect(50, 25, 160, 160), rect(325, 225, 160, 160)]);
        assert_eq!(of_regions(&[first, far], PICTURE, (160, 0)), []);
    }

    #[test]
    fn what_is_left_of_the_budget_goes_to_the_hottest_places() {
        // Cells of 160 pixels. The region lies on the first; of the others two are warm, one is not warm enough.
        let heat = [2.0, 0.0, 0.0, 0.6, 0.0, 0.0, 0.0, 0.0, 0.4, 0.0, 0.9, 0.0];
        let budget = |crops| Budget { picture: PICTURE, finest_px: 160, crops };
        let region = [rect(40, 40, 100, 80)];
        let expected = [rect(10, 0, 160, 160), rect(280, 240, 240, 240), rect(400, 0, 240, 240)];
        assert_eq!(of_reading(&region, heat, budget(9)), expected);
        assert_eq!(of_reading(&region, heat, budget(2)), expected[..2]);
    }

    #[test]
    fn every_crop_lies_within_a_narrow_picture() {
        let picture = Size::new(60, 2000);
        for x in 0..60 {
            let region = [rect(x, 30 * x, 60 - x, 7)];
            for crop in of_reading(&region, [0.7; 12], Budget { picture, finest_px: 200, crops: 20 }) {
                assert!(crop.x + crop.width <= 60 && crop.y + crop.height <= 2000 && crop.width > 0, "{crop:?}");
            }
        }
    }
}
