//! The path of a frame through Loupe: stages, policy, store, reports, evaluation and the command line.

pub mod cli;
pub mod report;
