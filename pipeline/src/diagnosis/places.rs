use cameras::{Frame, Place};
use models::Region;

use crate::{
    policy::Policy,
    stage::{Diagnose, Seen, StageError},
};

/// Lets `eyes` that look at places of `side_px` name each of the `regions` that a gate has found in `frame`, strongest first: a name that stands replaces that
/// of the gate, which knows less of these parts. Returns what is said of the frame: what they see in the first region in which something is the
/// matter, else in the first; `None` without regions.
///
/// # Errors
/// When a region cannot be seen.
pub(crate) fn name_places(
    (eyes, side_px): (&mut dyn Diagnose, u32),
    frame: &Frame,
    regions: &mut [Region],
    policy: &Policy,
) -> Result<Option<Seen>, StageError> {
    let mut said: Option<Seen> = None;
    for region in regions {
        let seen = eyes.diagnose(&frame.cut_out(Place { rect: region.rect, side_px }))?;
        if policy.is_trouble(&seen.diagnosis) {
            region.code = Some(seen.diagnosis.code_or_finding());
        }
        if said.as_ref().is_none_or(|said| said.diagnosis.is_good && !seen.diagnosis.is_good) {
            said = Some(seen);
        }
    }
    // The gate has judged; where it is, the gate has said, too.
    Ok(said.map(|seen| Seen { judges: false, place: None, ..seen }))
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use cameras::{FrameId, PixelFormat, Rect, Size};
    use models::Scope;

    use super::*;
    use crate::report::{Diagnosis, ModelUse};

    /// Says what it is told to, one look after the other, and remembers how large what it saw was.
    struct Parrot(VecDeque<(&'static str, f64)>, Vec<Size>);

    impl Diagnose for Parrot {
        fn judges(&self) -> bool {
            true
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
                language_model: None,
            };
            Ok(Seen { diagnosis, judges: true, glimpse: None, place: None })
        }
    }

    fn looked(says: &[(&'static str, f64)]) -> (Parrot, Vec<Option<String>>, Option<Seen>) {
        let frame = FrameId { source: "test".into(), seq: 0 };
        let frame = Frame::new(frame, Size::new(400, 300), PixelFormat::Grey8, vec![0; 400 * 300]).unwrap();
        let region = |index: usize| Region {
            rect: Rect { x: 50, y: 50, width: 50 * (index as u32 + 1), height: 10 },
            score: 2.0,
            area_px: 100,
            code: Some("stain".to_owned()),
        };
        let mut regions: Vec<Region> = (0..says.len()).map(region).collect();
        let mut parrot = Parrot(says.iter().copied().collect(), Vec::new());
        let seen = name_places((&mut parrot, 90), &frame, &mut regions, &Policy::default()).unwrap();
        (parrot, regions.into_iter().map(|region| region.code).collect(), seen)
    }

    #[test]
    fn every_place_gets_the_name_that_stands() {
        let (parrot, codes, seen) = looked(&[("good", 0.9), ("long crack", 0.9), ("dent", 0.3)]);
        assert_eq!(codes, ["stain", "long_crack", "stain"].map(|code| Some(code.to_owned())));
        assert_eq!(parrot.1, [Size::new(90, 90), Size::new(100, 100), Size::new(150, 150)]);
        let seen = seen.unwrap();
        assert_eq!((seen.diagnosis.finding.as_str(), seen.judges), ("long crack", false));
    }

    #[test]
    fn good_places_are_said_to_be_good_and_none_says_nothing() {
        let (_, codes, seen) = looked(&[("good", 0.9), ("good", 0.7)]);
        assert_eq!(codes, [Some("stain".to_owned()), Some("stain".to_owned())]);
        assert!((seen.unwrap().diagnosis.probability - 0.9).abs() < 1e-9);
        assert!(looked(&[]).2.is_none());
    }
}
