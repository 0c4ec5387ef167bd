//! Integration tests of the binary `loupe` and of the pipeline, in one test binary.

// `cfg(test)` always holds here; it tells clippy that helpers of tests may unwrap.
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod domain_evaluation;
#[cfg(test)]
mod domains;
#[cfg(test)]
mod labelled_boxes;
#[cfg(test)]
mod models_command;
#[cfg(test)]
mod run;
#[cfg(test)]
mod train_head;
#[cfg(test)]
mod tuning;
#[cfg(test)]
mod vision_language;
