//! Names for defects of bare circuit boards, by how a change touches what is around it.
//!
//! Copper that came is alone (spurious copper), hangs on a conductor (spur) or joins two (short); copper that went leaves a
//! hole (pin-hole), a notch (mouse bite) or a gap (open). So the colour of the change and the number of separate stretches at
//! which it touches its like decide, and nothing has to be learned.

use serde::{Deserialize, Serialize};

use super::{
    compare::Comparison,
    envelope::Disc,
    plane::Plane,
    regions::{Blob, label},
};

/// How copper looks in the pictures of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conductor {
    /// Darker than the laminate.
    Dark,
    /// Brighter than the laminate.
    Bright,
}

/// Whether a region is brighter or darker than the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Brighter,
    Darker,
}

/// The ring around a change in which contacts are counted: from beyond this radius ...
const RING_INNER_PX: usize = 1;
/// ... to this one.
const RING_OUTER_PX: usize = 4;
/// A contact that is smaller is a ragged edge.
const MIN_CONTACT_PX: usize = 4;
/// What is looked at around the box of a change; wider than the ring.
const SURROUNDINGS_PX: usize = 8;

/// Returns the knowledge-base identifier of what happened to the board at `blob`.
///
/// `level` is the brightness that separates copper from laminate.
pub(super) fn name(seen: &Comparison, blob: &Blob, change: Change, conductor: Conductor, level: f32) -> &'static str {
    let copper_came = (change == Change::Darker) == (conductor == Conductor::Dark);
    let contacts = contacts(seen, blob, change, level);
    match (copper_came, contacts) {
        (true, 0) => "pcb_spurious_copper",
        (true, 1) => "pcb_spur",
        (true, _) => "pcb_short",
        (false, 0) => "pcb_pinhole",
        (false, 1) => "pcb_mousebite",
        (false, _) => "pcb_open",
    }
}

/// Returns at how many separate stretches the change touches what is of its own colour in frame and template.
fn contacts(seen: &Comparison, blob: &Blob, change: Change, level: f32) -> usize {
    let rect = blob.rect(SURROUNDINGS_PX, (seen.frame.width, seen.frame.height));
    let (left, top) = (rect.x as usize, rect.y as usize);
    let (width, height) = (rect.width as usize, rect.height as usize);
    let mut body = Plane::filled(width, height, 0_u8);
    for &(x, y) in &blob.pixels {
        body.row_mut(y - top)[x - left] = 1;
    }
    let alike = |plane: &Plane<f32>| {
        let mut out = body.clone();
        for row in 0..height {
            let source = &plane.row(row + top)[left..left + width];
            for (value, &brightness) in out.row_mut(row).iter_mut().zip(source) {
                *value = u8::from((brightness >= level) == (change == Change::Brighter));
            }
        }
        out
    };
    let joined = joined_to(&body, &alike(&seen.frame));
    let outer = Disc::new(RING_OUTER_PX).highest(&body);
    let inner = Disc::new(RING_INNER_PX).highest(&body);
    let before = alike(&seen.expected);
    let mut ring = outer;
    for (index, value) in ring.values.iter_mut().enumerate() {
        *value *= (1 - inner.values[index]) * joined.values[index] * before.values[index];
    }
    stretches(&ring)
}

/// Returns `body` and the parts of `alike` that are connected with it.
fn joined_to(body: &Plane<u8>, alike: &Plane<u8>) -> Plane<u8> {
    let mut either = alike.clone();
    for (value, &inside) in either.values.iter_mut().zip(&body.values) {
        *value = (*value).max(inside);
    }
    let labels = label(&either);
    let mut touched: Vec<u32> =
        labels.values.iter().zip(&body.values).filter(|(_, inside)| **inside > 0).map(|(&l, _)| l).collect();
    touched.sort_unstable();
    touched.dedup();
    labels.map(|l| u8::from(touched.binary_search(&l).is_ok()))
}

fn stretches(ring: &Plane<u8>) -> usize {
    let labels = label(ring);
    let mut sizes = vec![0_usize; labels.values.iter().max().map_or(0, |&most| most as usize)];
    for &label in labels.values.iter().filter(|&&l| l > 0) {
        sizes[label as usize - 1] += 1;
    }
    sizes.iter().filter(|&&pixels| pixels >= MIN_CONTACT_PX).count()
}
