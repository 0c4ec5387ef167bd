//! Integration tests of the binary `loupe` and of the pipeline, in one test binary.

mod models_command;
mod run;
