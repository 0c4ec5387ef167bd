use cameras::{Frame, Place};
use models::{Region, Scope};

use crate::{
    policy::Policy,
    stage::{Diagnose, Seen, StageError},
};

/// Regions that are looked at, strongest first: a part with more has been misplaced.
const MOST_PLACES: usize = 16;

/// Lets `eyes` that look at places name those of the `regions` that a gate has found in `frame`, strongest first, for which it has no name itself.
/// Returns what is said of the frame: what they see in the first region of which a name stands, else in the first that does not look good, else in
/// the first; `None` without regions, and of eyes that look at whole pictures.
///
/// # Errors
/// When a region cannot be seen.
pub(crate) fn name_places(
    eyes: &mut dyn Diagnose,
    frame: &Frame,
    regions: &mut [Region],
    policy: &Policy,
) -> Result<Option<Seen>, StageError> {
    let Scope::Places { side_px } = eyes.scope() else { return Ok(None) };
    let rank = |seen: &Seen| (policy.is_trouble(&seen.diagnosis), !seen.diagnosis.is_good);
    let mut said: Option<Seen> = None;
    for region in regions.iter_mut().take(MOST_PLACES) {
        let seen = eyes.diagnose(&frame.cut_out(Place { rect: region.rect, side_px }))?;
        if region.code.is_none() && policy.is_trouble(&seen.diagnosis) {
            region.code = Some(seen.diagnosis.code_or_finding());
            region.probability = Some(seen.diagnosis.probability);
        }
        if said.as_ref().is_none_or(|said| rank(&seen) > rank(said)) {
            said = Some(Seen { region: Some(region.rect), ..seen });
        }
    }
    // Where it is, the gate has said.
    Ok(said.map(|seen| Seen { place: None, ..seen }))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use cameras::{FrameId, PixelFormat, Rect, Size};

    use super::*;
    use crate::report::{Diagnosis, ModelUse};

    /// Says what it is told to, one look after the other, and remembers how large what it saw was.
    struct Parrot(VecDeque<(&'static str, f64)>, Vec<Size>);

    impl Diagnose for Parrot {
        fn judges(&self) -> bool {
            false
        }

        fn speaks(&self) -> bool {
            false
        }

        fn scope(&self) -> Scope {
            Scope::Places { side_px: 90 }
        }

        fn models(&self) -> Vec<ModelUse> {
            Vec::new()
        }

        fn diagnose(&mut self, frame: &Frame) -> Result<Seen, StageError> {
            self.1.push(frame.size());
            let (finding, probability) = self.0.pop_front().ok_or("nothing left to say")?;
            let diagnosis = Diagnosis {
                by: "parrot".to_owned(),
                subject: None,
                finding: finding.to_owned(),
                code: None,
                is_good: finding == "good",
                probability,
                alternatives: Vec::new(),
                familiarity: None,
                shows: None,
                extent: None,
                language_model: None,
            };
            Ok(Seen { diagnosis, judges: false, glimpse: None, place: None, region: None })
        }
    }

    fn looked(says: &[(&'static str, f64)]) -> (Parrot, Vec<Region>, Option<Seen>) {
        let frame = FrameId { source: "test".into(), seq: 0 };
        let frame = Frame::new(frame, Size::new(400, 300), PixelFormat::Grey8, vec![0; 400 * 300]).unwrap();
        let region = |index: usize| Region {
            rect: Rect { x: 50, y: 50, width: 50 * (index as u32 + 1), height: 10 },
            score: 2.0,
            area_px: 100,
            // The gate knows the first alone.
            code: (index == 0).then(|| "stain".to_owned()),
            probability: None,
        };
        let mut regions: Vec<Region> = (0..says.len()).map(region).collect();
        let mut parrot = Parrot(says.iter().copied().collect(), Vec::new());
        let seen = name_places(&mut parrot, &frame, &mut regions, &Policy::default()).unwrap();
        (parrot, regions, seen)
    }

    fn named(regions: &[Region]) -> Vec<(&str, Option<f64>)> {
        regions.iter().map(|region| (region.code.as_deref().unwrap_or("-"), region.probability)).collect()
    }

    #[test]
    fn every_place_without_a_name_gets_the_one_that_stands() {
        let (parrot, regions, seen) = looked(&[("dent", 0.9), ("dent", 0.3), ("good", 0.9), ("long crack", 0.95)]);
        assert_eq!(named(&regions), [("stain", None), ("-", None), ("-", None), ("long_crack", Some(0.95))]);
        assert_eq!(parrot.1, [90, 100, 150, 200].map(|side| Size::new(side, side)));
        assert_eq!(seen.unwrap().diagnosis.finding, "dent");
    }

    #[test]
    fn of_a_frame_is_said_what_stands_then_what_is_not_good() {
        let said = |says: &[(&'static str, f64)]| looked(says).2.map(|seen| seen.diagnosis.finding);
        assert_eq!(said(&[("good", 0.9), ("dent", 0.3), ("crack", 0.9)]).unwrap(), "crack");
        assert_eq!(said(&[("good", 0.9), ("dent", 0.3)]).unwrap(), "dent");
        assert_eq!(said(&[("good", 0.9), ("good", 0.7)]).unwrap(), "good");
        assert_eq!(said(&[]), None);
    }

    #[test]
    fn a_part_that_is_strange_all_over_is_not_looked_at_all_over() {
        let (parrot, regions, _) = looked(&[("dent", 0.9); 20]);
        let codes = regions.iter().filter(|region| region.code.is_some());
        assert_eq!((parrot.1.len(), codes.count()), (MOST_PLACES, MOST_PLACES));
    }
}
