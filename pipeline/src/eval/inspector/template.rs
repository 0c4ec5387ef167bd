use cameras::Frame;
use models::{GateReading, ModelError, Template, TemplateOptions};

use super::{Inspector, nothing_learned};
use crate::stage::StageError;

/// Compares with an aligned golden template.
#[derive(Debug)]
pub struct TemplateInspector {
    options: TemplateOptions,
    template: Option<Template>,
}

impl TemplateInspector {
    /// Returns one that has learned nothing yet.
    pub const fn new(options: TemplateOptions) -> Self {
        Self { options, template: None }
    }
}

impl Inspector for TemplateInspector {
    fn name(&self) -> String {
        "template".to_owned()
    }

    fn fingerprint(&self) -> String {
        format!("template {:?}", self.options)
    }

    fn enroll(&mut self, golden: &[Frame]) -> Result<(), ModelError> {
        self.template = Some(Template::from_golden(golden, self.options)?);
        Ok(())
    }

    fn explanation(&self) -> String {
        self.template.as_ref().map(Template::explanation).unwrap_or_default()
    }

    fn judge(&mut self, frame: &Frame) -> Result<GateReading, StageError> {
        Ok(self.template.as_ref().ok_or_else(nothing_learned)?.judge(frame)?)
    }
}
