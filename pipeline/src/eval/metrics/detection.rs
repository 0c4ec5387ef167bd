use std::collections::{BTreeMap, BTreeSet};

use cameras::Rect;

/// The smallest overlap, intersection over union, at which a found box counts as a labelled one: DeepPCB's own rule.
pub const IOU_MIN: f64 = 0.33;

/// A labelled defect.
#[derive(Debug, Clone, PartialEq)]
pub struct Truth {
    /// Its box in pixels of the frame.
    pub rect: Rect,
    /// Its class.
    pub class: String,
}

/// A found defect.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its box in pixels of the frame.
    pub rect: Rect,
    /// Larger is surer; finite.
    pub score: f64,
    /// What it was called, if anything.
    pub class: Option<String>,
}

/// One image's labelled and found defects.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Labelled {
    /// What is there.
    pub truths: Vec<Truth>,
    /// What was found.
    pub found: Vec<Found>,
}

/// A found box and the labelled one that it was matched to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched {
    /// Position in [`Labelled::found`].
    pub found: usize,
    /// Position in [`Labelled::truths`]; `None` for a false alarm.
    pub truth: Option<usize>,
}

/// Returns what each found box of `image` was matched to, surest first: each takes the free labelled box that it overlaps
/// most, if by at least [`IOU_MIN`], whatever it was called. One to one, greedy.
pub fn match_boxes(image: &Labelled) -> Vec<Matched> {
    let mut order: Vec<usize> = (0..image.found.len()).collect();
    order.sort_by(|&a, &b| image.found[b].score.total_cmp(&image.found[a].score));
    let mut taken = vec![false; image.truths.len()];
    let mut matches = Vec::with_capacity(order.len());
    for found in order {
        let mut best: Option<(usize, f64)> = None;
        for (truth, labelled) in image.truths.iter().enumerate() {
            let iou = image.found[found].rect.iou(labelled.rect);
            if !taken[truth] && iou >= IOU_MIN && best.is_none_or(|(_, most)| iou > most) {
                best = Some((truth, iou));
            }
        }
        let truth = best.map(|(truth, _)| truth);
        if let Some(truth) = truth {
            taken[truth] = true;
        }
        matches.push(Matched { found, truth });
    }
    matches
}

/// Boxes found, missed and imagined.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct DetectionCounts {
    /// Found boxes with a labelled one.
    pub hits: usize,
    /// Found boxes without.
    pub false_alarms: usize,
    /// Labelled boxes that none was matched to.
    pub misses: usize,
}

impl DetectionCounts {
    /// Returns the counts over `images`, whatever the boxes were called.
    pub fn of<'a>(images: impl IntoIterator<Item = &'a Labelled>) -> Self {
        let mut counts = Self::default();
        for image in images {
            let hits = match_boxes(image).iter().filter(|matched| matched.truth.is_some()).count();
            counts.hits += hits;
            counts.false_alarms += image.found.len() - hits;
            counts.misses += image.truths.len() - hits;
        }
        counts
    }

    /// Returns the share of found boxes that are right, 0..=1; `None` when nothing was found.
    pub fn precision(&self) -> Option<f64> {
        share(self.hits, self.hits + self.false_alarms)
    }

    /// Returns the share of labelled boxes that were found, 0..=1; `None` when nothing is labelled.
    pub fn recall(&self) -> Option<f64> {
        share(self.hits, self.hits + self.misses)
    }

    /// Returns the harmonic mean of precision and recall, 0..=1; `None` when nothing is labelled or found.
    pub fn f1(&self) -> Option<f64> {
        share(2 * self.hits, 2 * self.hits + self.false_alarms + self.misses)
    }
}

fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// The class that average precision is measured for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class<'a> {
    /// Boxes of any class; names are ignored.
    Any,
    /// Labelled and found boxes of this name alone.
    Named(&'a str),
}

impl Class<'_> {
    fn has(self, name: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Named(class) => name == Some(class),
        }
    }
}

/// Returns the average precision at [`IOU_MIN`]: the area under the precision envelope over recall, at every recall (as PASCAL
/// VOC since 2010). `None` when `class` is nowhere labelled.
pub fn average_precision(images: &[&Labelled], class: Class<'_>) -> Option<f64> {
    let mut ranked: Vec<(f64, bool)> = Vec::new();
    let mut n_truths = 0;
    for image in images {
        let of_class = Labelled {
            truths: image.truths.iter().filter(|truth| class.has(Some(&truth.class))).cloned().collect(),
            found: image.found.iter().filter(|found| class.has(found.class.as_deref())).cloned().collect(),
        };
        n_truths += of_class.truths.len();
        ranked.extend(match_boxes(&of_class).iter().map(|m| (of_class.found[m.found].score, m.truth.is_some())));
    }
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    (n_truths > 0).then(|| area_under_envelope(&ranked, n_truths))
}

fn area_under_envelope(ranked: &[(f64, bool)], n_truths: usize) -> f64 {
    let mut precisions_at_hits = Vec::new();
    for (rank, &(_, is_hit)) in ranked.iter().enumerate() {
        if is_hit {
            precisions_at_hits.push((precisions_at_hits.len() + 1) as f64 / (rank + 1) as f64);
        }
    }
    let (mut area, mut envelope) = (0.0, 0.0_f64);
    for precision in precisions_at_hits.into_iter().rev() {
        envelope = envelope.max(precision);
        area += envelope / n_truths as f64;
    }
    area
}

/// Returns the average precision of each labelled class, by name.
pub fn average_precisions(images: &[&Labelled]) -> BTreeMap<String, f64> {
    let classes: BTreeSet<&str> =
        images.iter().flat_map(|image| &image.truths).map(|truth| truth.class.as_str()).collect();
    let of_class = |class: &str| Some((class.to_owned(), average_precision(images, Class::Named(class))?));
    classes.into_iter().filter_map(of_class).collect()
}

/// Returns the F1 of each class when a box must be both found and named rightly, by name; a found box is first matched to a
/// labelled one of any class. Names that are nowhere labelled only cost false alarms elsewhere and are left out.
pub fn f1_of_classes(images: &[&Labelled]) -> BTreeMap<String, f64> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for image in images {
        for truth in &image.truths {
            counts.entry(&truth.class).or_default().1 += 1;
        }
    }
    for image in images {
        let matches = match_boxes(image);
        for matched in matches {
            let Some(said) = image.found[matched.found].class.as_deref() else { continue };
            let Some((hits, there_and_said)) = counts.get_mut(said) else { continue };
            *there_and_said += 1;
            *hits += usize::from(matched.truth.is_some_and(|truth| image.truths[truth].class == said));
        }
    }
    let f1 = |(class, (hits, whole)): (&str, (usize, usize))| (class.to_owned(), 2.0 * hits as f64 / whole as f64);
    counts.into_iter().map(f1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rect(x: u32, width: u32) -> Rect {
        Rect { x, y: 0, width, height: 10 }
    }

    fn truth(x: u32, width: u32, class: &str) -> Truth {
        Truth { rect: rect(x, width), class: class.to_owned() }
    }

    fn found(x: u32, score: f64, class: Option<&str>) -> Found {
        Found { rect: rect(x, 10), score, class: class.map(str::to_owned) }
    }

    #[test]
    fn each_labelled_box_is_matched_once() {
        let image = Labelled {
            truths: vec![truth(0, 10, "open")],
            found: vec![found(1, 0.5, None), found(0, 0.9, None), found(50, 0.7, None)],
        };
        let matched = |found, truth| Matched { found, truth };
        assert_eq!(match_boxes(&image), [matched(1, Some(0)), matched(2, None), matched(0, None)]);
        let counts = DetectionCounts::of([&image]);
        assert_eq!(counts, DetectionCounts { hits: 1, false_alarms: 2, misses: 0 });
        assert_eq!((counts.precision(), counts.recall(), counts.f1()), (Some(1.0 / 3.0), Some(1.0), Some(0.5)));
    }

    #[test]
    fn overlap_below_a_third_is_a_miss() {
        // 10 px boxes shifted by 5 overlap by 5 of 15: 0.333; shifted by 6, by 4 of 16: 0.25.
        for (shift, hits) in [(5, 1), (6, 0)] {
            let image = Labelled { truths: vec![truth(0, 10, "open")], found: vec![found(shift, 1.0, None)] };
            assert_eq!(DetectionCounts::of([&image]).hits, hits, "shift {shift}");
        }
    }

    #[test]
    fn nothing_found_and_nothing_labelled() {
        let counts = DetectionCounts::of([&Labelled::default()]);
        assert_eq!((counts.precision(), counts.recall(), counts.f1()), (None, None, None));
        assert_eq!(average_precision(&[&Labelled::default()], Class::Any), None);
    }

    #[test]
    fn a_wrong_name_costs_both_classes() {
        let image = Labelled {
            truths: vec![truth(0, 10, "open"), truth(100, 10, "short")],
            found: vec![found(0, 1.0, Some("short")), found(100, 1.0, Some("short"))],
        };
        let f1 = f1_of_classes(&[&image]);
        assert_eq!(f1.get("open"), Some(&0.0));
        assert!((f1["short"] - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(average_precisions(&[&image]).get("open"), Some(&0.0));
    }
}
