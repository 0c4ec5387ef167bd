use serde::Deserialize;
use serde_json::Value;

use super::{
    Llama3Scaling, LongRope, RopeScaling,
    file::{Flaw, get, get_or},
};

/// What `config.json` says about rotary embedding.
pub(super) struct RopeKeys<'a> {
    file: &'a Value,
    /// The object with the parameters, where there is one.
    section: Option<&'static str>,
}

impl<'a> RopeKeys<'a> {
    pub(super) fn new(file: &'a Value) -> Self {
        // Transformers 5 writes the second, older versions the first.
        let section = ["rope_scaling", "rope_parameters"].into_iter().find(|section| file[section].is_object());
        Self { file, section }
    }

    /// Returns the base of the frequencies. None is assumed: a wrong one gives plausible nonsense.
    pub(super) fn base(&self) -> Result<f32, Flaw> {
        let [beside, within, within_new] = ["rope_theta", "rope_scaling.rope_theta", "rope_parameters.rope_theta"]
            .map(|key| get_or::<Option<f32>>(self.file, key, None));
        let base = beside?.or(within?).or(within_new?);
        base.ok_or_else(|| ("rope_theta or rope_parameters.rope_theta".to_owned(), "neither".to_owned()))
    }

    /// Returns how many of `head_dim` values are turned, `None` for all of them.
    pub(super) fn rotary_dim(&self, head_dim: usize) -> Result<Option<usize>, Flaw> {
        let beside = get_or(self.file, "partial_rotary_factor", None)?;
        let ratio: Option<f64> = self.parameter("partial_rotary_factor")?.or(beside);
        Ok(ratio.map(|ratio| (head_dim as f64 * ratio) as usize).filter(|dim| *dim != head_dim))
    }

    /// Returns how frequencies are stretched in a model whose context is `context` tokens long.
    pub(super) fn scaling(&self, context: usize) -> Result<RopeScaling, Flaw> {
        let older = self.parameter::<String>("type")?;
        let kind = self.parameter("rope_type")?.or(older).unwrap_or_else(|| "default".to_owned());
        match kind.as_str() {
            "default" => Ok(RopeScaling::None),
            "llama3" => Ok(RopeScaling::Llama3(self.llama3()?)),
            // The second is the name in the first files of Phi-3.
            "longrope" | "su" => Ok(RopeScaling::LongRope(self.longrope(context)?)),
            _ => Err(("rope_type to be default, llama3, longrope or su".to_owned(), kind)),
        }
    }

    fn llama3(&self) -> Result<Llama3Scaling, Flaw> {
        Ok(Llama3Scaling {
            factor: self.required("factor")?,
            low: self.required("low_freq_factor")?,
            high: self.required("high_freq_factor")?,
            original_context: self.original_context()?,
        })
    }

    fn longrope(&self, context: usize) -> Result<LongRope, Flaw> {
        let original_context = self.original_context()?;
        let original = original_context as f32;
        let factor: f32 = self.parameter("factor")?.unwrap_or(context as f32 / original);
        let usual = if factor > 1.0 { (1.0 + factor.ln() / original.ln()).sqrt() } else { 1.0 };
        Ok(LongRope {
            short_factors: self.required("short_factor")?,
            long_factors: self.required("long_factor")?,
            original_context,
            amplitude: self.parameter("attention_factor")?.unwrap_or(usual),
        })
    }

    /// Returns the context length of pre-training. Phi-3 has it beside the parameters, Llama 3 within.
    fn original_context(&self) -> Result<usize, Flaw> {
        const KEY: &str = "original_max_position_embeddings";
        get_or(self.file, KEY, None)?.map_or_else(|| self.required(KEY), Ok)
    }

    /// Returns the parameter `key`, `None` where it is absent or null.
    fn parameter<T: Deserialize<'a>>(&self, key: &str) -> Result<Option<T>, Flaw> {
        let Some(section) = self.section else { return Ok(None) };
        get_or(self.file, &format!("{section}.{key}"), None)
    }

    fn required<T: Deserialize<'a>>(&self, key: &str) -> Result<T, Flaw> {
        get(self.file, &format!("{}.{key}", self.section.unwrap_or("rope_parameters")))
    }
}
