//! Heads of the user's own classes: learning one from a folder of class folders, and measuring one.
//!
//! [`read`] finds pictures, [`Parts`] says which serve what and which are left out, [`train`] fits a [`models::head::Head`] and writes it
//! with what it can do, [`evaluate`] measures one on other pictures, [`evaluate_few_shot`] several that learn from few each. Test pictures are never learned from, and pictures that
//! were learned from never measured on: both are told apart by the hash of their files.

mod card;
mod charts;
mod domain_evaluation;
mod error;
mod evaluation;
mod features;
mod few_shot;
mod folders;
mod head_evaluation;
mod layout;
mod measures;
mod output;
mod page;
mod parts;
mod places;
mod table;
mod training;

pub(crate) use charts::{By, ConfusionChart, LossChart, rendered};
pub(crate) use domain_evaluation::domain_for;
pub use domain_evaluation::{
    DOMAIN_SCHEMA, DomainEvaluation, DomainPlan, Examinee, JudgementMeasures, Refusals, Share, SpokenMeasures,
    StrangerMeasures, TakenFor, evaluate_domain,
};
pub use error::HeadError;
pub use evaluation::Evaluation;
pub(crate) use features::JOURNAL as DESCRIBED;
pub(crate) use features::in_picture;
pub use few_shot::{FewShotPlan, evaluate_few_shot};
pub use folders::{Part, Picture, read};
pub use head_evaluation::{HEAD_SCHEMA, HeadEvaluation, SeedRow, Subject, evaluate};
pub use layout::ClassLayout;
pub use measures::{ClassMeasures, ClassScore, Classified, ReliabilityBin};
pub(crate) use output::{check_output, write_texts};
pub use parts::{LeftOut, Parts, Reason};
pub(crate) use table::{ClassRow, MeasureRow, MeasureTable, class_rows, measure_rows, three};
pub(crate) use training::{Gathered, Learned};
pub use training::{HeadPlan, Trained, train};

/// Side in pixels of what the encoder sees, where nothing else is said.
pub const RESOLUTION_PX: u32 = 224;
/// The head itself, in the folder that [`train`] writes.
pub const HEAD_FILE: &str = "head.safetensors";
