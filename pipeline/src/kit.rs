//! What the stages of a run share: encoder, language model and defect catalogue, opened from bundle and cache.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use cameras::Frame;
use models::{
    Encoder, EncoderConfig, Eyes, Features, ModelError,
    bundle::{Bundle, BundleFile, Role},
    cache::Cache,
    decoder::DecoderOptions,
    domain::Domain,
    hash::{file_sha256, sha256},
    head::{Classifier, Head},
    language::LanguageModel,
    ort_engine::{OrtEngine, SessionConfig},
};

use crate::{
    Pipeline, Reference,
    describe::{Describer, ModelAuthor},
    diagnosis::{DomainEyes, EveryDomain, EyesSource, OwnHead, SharedEyes},
    enrolment::StationCard,
    head::HEAD_FILE,
    home::Home,
    knowledge::{Crops, Knowledge},
    report::ModelUse,
    stage::{Diagnose, Encode, StageError},
};

/// Room for the longest prompt and answer that the knowledge base makes.
const CAPACITY_TOKENS: usize = 1024;

/// Who chooses the words of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// The language model, under a grammar made from the facts.
    Written,
    /// Nobody: plain sentences.
    Plain,
}

/// The models and the knowledge that all stations of a run share.
#[derive(Debug)]
pub struct Kit {
    bundle: Bundle,
    cache: Cache,
    session: SessionConfig,
    encoder: Option<(Encoder, u32)>,
    /// Eyes that were opened, by the name that they were asked for by.
    domains: BTreeMap<String, SharedEyes>,
    crops: Option<Arc<Crops>>,
}

impl Kit {
    /// Returns a kit over the `bundle` of that name or folder; models are opened as they are asked for.
    ///
    /// # Errors
    /// When the bundle's description is damaged or there is no place for a cache.
    pub fn new(bundle: &str, session: SessionConfig) -> anyhow::Result<Self> {
        Ok(Self {
            bundle: Bundle::open(bundle)?,
            cache: Cache::locate()?,
            session,
            encoder: None,
            domains: BTreeMap::new(),
            crops: None,
        })
    }

    /// Returns the encoder at `resolution_px`, opened at the first call.
    ///
    /// # Errors
    /// When its files are missing or damaged, or this run already encodes at another resolution.
    pub fn encoder(&mut self, resolution_px: u32) -> anyhow::Result<&mut Encoder> {
        if let Some((_, other_px)) = self.encoder.as_ref().filter(|(_, other_px)| *other_px != resolution_px) {
            anyhow::bail!("stations of one run: expected one resolution, found {other_px} px and {resolution_px} px");
        }
        let opened = if let Some((encoder, _)) = self.encoder.take() {
            encoder
        } else {
            let weights = self.cache.require(&self.bundle, Role::EncoderWeights)?;
            Encoder::open(&self.engine()?, &weights, EncoderConfig { resolution_px, session: self.session })?
        };
        Ok(&mut self.encoder.insert((opened, resolution_px)).0)
    }

    /// Returns the encoder at `resolution_px`, for one who needs nothing else of the kit.
    ///
    /// # Errors
    /// As [`Self::encoder`].
    pub fn only_encoder(mut self, resolution_px: u32) -> anyhow::Result<Encoder> {
        self.encoder(resolution_px)?;
        self.into_encoder().context("the encoder was opened just now")
    }

    /// Returns the encoder, if one was opened.
    pub fn into_encoder(self) -> Option<Encoder> {
        self.encoder.map(|(encoder, _)| encoder)
    }

    /// Returns what the station of `card` compares with, opening the encoder if it needs one.
    ///
    /// # Errors
    /// When the reference or a model file is missing or damaged.
    pub fn reference(&mut self, home: &Home, card: &StationCard) -> anyhow::Result<Reference> {
        let Some(resolution_px) = card.resolution_px else { return Ok(card.reference(home, None)?) };
        let encoder_use = self.encoder_use()?;
        let encoder = self.encoder(resolution_px)?;
        let mut reference = card.reference(home, Some(encoder))?;
        reference.models.push(encoder_use);
        Ok(reference)
    }

    /// Returns trained eyes; those of one domain are opened once, however many stations look through them.
    ///
    /// # Errors
    /// When a model file is missing or damaged, or a head was fitted to another encoder.
    pub fn eyes(&mut self, source: &EyesSource) -> anyhow::Result<Box<dyn Diagnose>> {
        match source {
            EyesSource::Domain(name) => Ok(Box::new(self.domain(name)?)),
            EyesSource::EveryDomain => {
                let domains = Domain::embedded().map(|name| self.domain(name));
                Ok(Box::new(EveryDomain::new(domains.collect::<anyhow::Result<_>>()?)))
            }
            EyesSource::Head { folder, good_classes } => {
                let file = folder.join(HEAD_FILE);
                let head = Head::open(&file)?;
                let config = EncoderConfig { resolution_px: head.origin().resolution_px, session: self.session };
                let published = self.cache.require(&self.bundle, Role::EncoderWeights)?;
                let encoder = Encoder::open(&self.engine()?, &published, config)?;
                let classifier = Classifier::new(encoder, head).with_context(|| file.display().to_string())?;
                let sha256 = file_sha256(&file).with_context(|| file.display().to_string())?;
                let parts = (classifier, self.encoder_use()?);
                Ok(Box::new(OwnHead::new(folder, sha256, parts, good_classes.clone())))
            }
        }
    }

    fn domain(&mut self, name: &str) -> anyhow::Result<SharedEyes> {
        if let Some(eyes) = self.domains.get(name) {
            return Ok(eyes.clone());
        }
        let eyes = SharedEyes::new(self.open_domain(name)?);
        self.domains.insert(name.to_owned(), eyes.clone());
        Ok(eyes)
    }

    fn open_domain(&mut self, name: &str) -> anyhow::Result<DomainEyes> {
        let domain = Arc::new(Domain::find(name)?);
        let (eyes, shared) = (self.domain_eyes(&domain)?, self.models_of_eyes(&domain)?);
        Ok(DomainEyes::new(domain, eyes, shared, self.crops()?))
    }

    /// Returns what is known about leaves, read once.
    fn crops(&mut self) -> anyhow::Result<Arc<Crops>> {
        let crops = match self.crops.take() {
            Some(crops) => crops,
            None => Arc::new(Crops::embedded()?),
        };
        Ok(Arc::clone(self.crops.insert(crops)))
    }

    /// Returns the models that a domain works with beside its own file, the language model that looks through it included.
    ///
    /// # Errors
    /// When the bundle has none of the kind.
    pub fn domain_models(&self, domain: &Domain) -> Result<Vec<ModelUse>, ModelError> {
        let mut models = self.models_of_eyes(domain)?;
        if domain.speaks() {
            models.push(self.language_use()?);
        }
        Ok(models)
    }

    fn models_of_eyes(&self, domain: &Domain) -> Result<Vec<ModelUse>, ModelError> {
        if domain.sees_by_published_weights() { Ok(vec![self.encoder_use()?]) } else { Ok(Vec::new()) }
    }

    fn language_use(&self) -> Result<ModelUse, ModelError> {
        let file = self.bundle.file(Role::LanguageModel)?;
        let precision = file.precision.as_deref().unwrap_or_default();
        Ok(ModelUse { runtime: "loupe cpu".to_owned(), ..model_use("language", file, precision) })
    }

    fn encoder_use(&self) -> Result<ModelUse, ModelError> {
        Ok(model_use("encoder", self.bundle.file(Role::EncoderWeights)?, "f32"))
    }

    /// Returns the eyes of a domain.
    ///
    /// # Errors
    /// When a model file is missing or damaged.
    pub fn domain_eyes(&self, domain: &Domain) -> Result<Eyes, ModelError> {
        let published = self.cache.require(&self.bundle, Role::EncoderWeights)?;
        domain.eyes(&self.engine()?, &published, self.session)
    }

    /// Returns the language model as author.
    ///
    /// # Errors
    /// When a file of it is missing or damaged.
    pub fn author(&self) -> Result<ModelAuthor, ModelError> {
        Ok(ModelAuthor::new(self.language_model()?, self.language_use()?))
    }

    /// Returns what the encoder is trained from: the engine, and the file of its published weights.
    ///
    /// # Errors
    /// When a file is missing or damaged.
    pub fn encoder_source(&self) -> Result<(OrtEngine, PathBuf), ModelError> {
        Ok((self.engine()?, self.cache.require(&self.bundle, Role::EncoderWeights)?))
    }

    fn engine(&self) -> Result<OrtEngine, ModelError> {
        OrtEngine::of(&self.bundle, &self.cache)
    }

    /// Returns the file of the language model.
    ///
    /// # Errors
    /// When it is missing or damaged.
    pub fn language_file(&self) -> Result<PathBuf, ModelError> {
        self.cache.require(&self.bundle, Role::LanguageModel)
    }

    fn language_model(&self) -> Result<LanguageModel, ModelError> {
        let threads = self.session.threads;
        let options = DecoderOptions { capacity: CAPACITY_TOKENS, threads, ..DecoderOptions::default() };
        LanguageModel::open(&self.bundle, &self.cache, options)
    }

    /// Returns `pipeline` with the defect catalogue, a describer, and the encoder if one was opened.
    ///
    /// # Errors
    /// When the language model is wanted and a file of it is missing or damaged.
    pub fn equip(mut self, pipeline: Pipeline, text: Text) -> anyhow::Result<Pipeline> {
        let author = match text {
            Text::Written => Some(Box::new(self.author()?) as _),
            Text::Plain => None,
        };
        let (knowledge, crops) = (Knowledge::embedded()?, self.crops()?);
        let pipeline = pipeline.catalogue(Box::new(knowledge.clone()));
        let pipeline = pipeline.describer(Box::new(Describer::new((knowledge, crops), author)));
        Ok(match self.encoder {
            Some((encoder, _)) => pipeline.encoder(Box::new(encoder)),
            None => pipeline,
        })
    }
}

impl Encode for Encoder {
    fn encode(&mut self, frame: &Frame, magnification: f64) -> Result<Features, StageError> {
        Ok(self.encode_at(frame, magnification)?)
    }
}

fn model_use(role: &str, file: &BundleFile, precision: &str) -> ModelUse {
    ModelUse {
        role: role.to_owned(),
        name: file.name.clone(),
        sha256: file.sha256.clone(),
        runtime: "ort cpu".to_owned(),
        precision: precision.to_owned(),
    }
}

/// Returns the SHA-256 of `settings`, lower-case hexadecimal, for commands that have no configuration file.
pub fn settings_sha256(settings: &[&str]) -> String {
    sha256(settings.join("\0"))
}
