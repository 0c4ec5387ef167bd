//! The path of a frame through Loupe: stages, policy, store, reports, evaluation and the command line.

pub mod check;
pub mod cli;
pub mod config;
mod csv;
pub mod describe;
pub mod diagnosis;
pub mod enrolment;
pub mod error;
pub mod eval;
pub mod evidence;
pub mod findings;
pub mod golden;
pub mod head;
pub mod home;
pub mod html;
mod inspection;
mod journal;
pub mod jsonl;
pub mod kit;
pub mod knowledge;
pub mod ledger;
pub mod overlay;
pub mod policy;
pub mod queue;
pub mod record_error;
pub mod recorder;
pub mod report;
pub mod run;
pub mod signals;
pub mod stage;
mod stages;
pub mod store;

pub use error::PipelineError;
pub use inspection::Failure;
pub use run::{Pipeline, RunEnd, RunError, RunSummary, Station};
pub use stage::{Reference, Stop};
