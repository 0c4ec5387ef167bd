//! Domains that Loupe trains itself.

use std::path::Path;

use crate::{
    ModelError, Scope, encoder::DESCRIPTION_DIM, head::Fit, product::Matrix, tuning::Tuned, visual_tuning::QUESTIONS,
};

use super::{Domain, Label, Novelty, Retina, Tongue, Views, file};

/// What a domain is made of.
#[derive(Debug)]
pub struct Lessons<'a> {
    /// Name of the domain.
    pub name: String,
    /// What it can name.
    pub labels: Vec<Label>,
    /// See [`crate::EncoderConfig::resolution_px`].
    pub resolution_px: u32,
    /// What of a frame the pictures show.
    pub scope: Scope,
    /// Weights of its eyes.
    pub tuned: Tuned,
    /// A head on [`crate::Sight::description`] by those eyes.
    pub fit: &'a Fit,
    /// Descriptions of the pictures that the head was fitted to, by view: first as they are, then augmented, in the same order.
    pub views: &'a [Vec<Vec<f32>>],
    /// Class of each picture; those of a class in the order in which they were taken, so that neighbours look alike.
    pub classes: &'a [usize],
    /// What lets a language model see by those eyes, where it is to.
    pub tongue: Option<Tongue>,
    /// SHA-256 of the files.
    pub learned_from: Vec<[u8; 32]>,
}

impl Domain {
    /// Returns the domain of what was learned.
    ///
    /// # Errors
    /// When there are not as many descriptions as classes, or too few views to tell strangers by.
    pub fn learned(lessons: Lessons<'_>) -> Result<Self, ModelError> {
        let Lessons { name, labels, resolution_px, scope, tuned, fit, views, classes, tongue, mut learned_from } =
            lessons;
        let views: Vec<Matrix> = views.iter().map(|view| Matrix::new(view.concat(), DESCRIPTION_DIM)).collect();
        if views.is_empty() {
            return Err(ModelError::mismatch("views to learn from", "one or more", 0));
        }
        if let Some(view) = views.iter().find(|view| view.rows() != classes.len()) {
            return Err(ModelError::mismatch("descriptions of a view", classes.len(), view.rows()));
        }
        learned_from.sort_unstable();
        // Of a file that several places were cut from, one is enough.
        learned_from.dedup();
        let question = tongue.as_ref().map(|_| QUESTIONS[0].to_owned()).unwrap_or_default();
        let mut domain = Self {
            name,
            question,
            labels,
            resolution_px,
            views: Views::Plain,
            scope,
            head: fit.raw(),
            temperature: fit.temperature(),
            novelty: Novelty::fit(&views, classes)?,
            kinds: None,
            tongue,
            retina: Retina::Floats(tuned.weights),
            learned_from,
            sha256: String::new(),
        };
        domain.sha256 = crate::hash::sha256(file::serialized(&domain));
        Ok(domain)
    }

    /// Writes the domain to `path`: to a file beside it first, so that a domain in use is never half written.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        file::save(self, path)
    }
}
