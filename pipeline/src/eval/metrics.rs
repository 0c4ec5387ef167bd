//! Measures of how well Loupe judges: pure functions over scores, maps and boxes, without files.
//!
//! Each is checked against scikit-learn, `SciPy` or a slow literal implementation by `pipeline/scripts/metric_reference.py`, whose
//! output is committed in `pipeline/tests/fixtures/metric_reference.json`.

mod decision;
mod detection;
mod interval;
mod paired;
mod pixel;
mod ranking;
mod selective;

pub use decision::{Confusion, Decided, Outcomes};
pub use detection::{
    Class, DetectionCounts, Found, IOU_MIN, Labelled, Matched, Truth, average_precision, average_precisions,
    f1_of_classes, match_boxes,
};
pub use interval::{Bootstrap, Interval, clopper_pearson, quantile};
pub use paired::mcnemar_exact;
pub use pixel::{AUPRO_LIMIT, Bounded, CoarseTallies, PixelCurve, PixelTally};
pub use ranking::{Roc, RocPoint, Scored, f1_max, image_aupr};
pub use selective::{CoveragePoint, Selective, Sure};

#[cfg(test)]
mod reference;
