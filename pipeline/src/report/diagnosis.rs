use models::domain::Kind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a frame shows, by trained eyes: those of a domain, or a user's own head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnosis {
    /// The domain or head that named it.
    pub by: String,
    /// What is seen, for example `tomato leaf`; absent where only classes are known.
    pub subject: Option<String>,
    /// What is the matter with it, for example `early blight`, or the name of the class.
    pub finding: String,
    /// Identifier in the knowledge base, or the kind of labelled box that it was learned from; absent where there is neither.
    pub code: Option<String>,
    /// Whether nothing is the matter.
    pub is_good: bool,
    /// Calibrated probability of it, in 0..=1.
    pub probability: f64,
    /// What else it may be, likeliest first.
    pub alternatives: Vec<Alternative>,
    /// How seldom a picture of the domain looks as strange, in 0..=1: near 0 for another part, another crop or no part at all; absent
    /// where nothing is known about it.
    pub familiarity: Option<f64>,
    /// What the picture shows instead of what the eyes know; absent of one that they know. All else that is said of such a picture is only what it is
    /// least unlike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shows: Option<Shown>,
    /// How much of the leaf is affected; absent where that cannot be measured: of healthy ones, strangers, names that the language model
    /// contradicts, parts, diseases whose spots do not tell, and leaves that do not lie on plain ground.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extent: Option<Extent>,
    /// What the language model named when it looked at the picture; absent where it was not asked.
    pub language_model: Option<String>,
}

/// What a picture shows that trained eyes do not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// A plant, but another one, or in a state or from a side that was not learned.
    Plant,
    /// A part or a surface, but another one.
    Part,
    /// Too little to tell: the picture is out of focus, too dark or too bright.
    PoorPicture,
    /// Neither a plant nor a part.
    Other,
    /// These eyes cannot tell.
    Unknown,
}

impl From<Kind> for Shown {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Plant => Self::Plant,
            Kind::Part => Self::Part,
            Kind::PoorPicture => Self::PoorPicture,
            Kind::Other => Self::Other,
        }
    }
}

/// How much of a leaf is affected, by its colour.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Extent {
    /// Share of the leaf that is redder than its own green, in 0..=1 and in steps of 0.01: spots, but not a leaf that is yellow all over.
    pub discoloured_share: f64,
    /// How bad that is by this leaf alone: the knowledge base's working limits, not a standard.
    pub severity: LeafSeverity,
}

/// How bad the disease of a leaf is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LeafSeverity {
    /// Under a tenth of the leaf.
    Low,
    /// A tenth to three tenths.
    Medium,
    /// More.
    High,
}

impl Extent {
    /// Returns the discoloured share in words, for example `about 18 %`.
    pub fn share(self) -> String {
        let percent = 100.0 * self.discoloured_share;
        if percent < 1.0 { "less than 1 %".to_owned() } else { format!("about {percent:.0} %") }
    }
}

impl LeafSeverity {
    /// Returns its name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// Something else that a frame may show.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Alternative {
    /// Its name, as [`Diagnosis::name`] gives it.
    pub name: String,
    /// Calibrated probability, in 0..=1.
    pub probability: f64,
}

impl Diagnosis {
    /// Returns subject and finding in words, for example `tomato leaf: early blight`.
    pub fn name(&self) -> String {
        match &self.subject {
            Some(subject) => format!("{subject}: {}", self.finding),
            None => self.finding.clone(),
        }
    }

    /// Returns the identifier of what is the matter: in the knowledge base, or its words with `_` between them.
    pub fn code_or_finding(&self) -> String {
        self.code.clone().unwrap_or_else(|| self.finding.to_lowercase().replace(char::is_whitespace, "_"))
    }

    /// Returns whether the picture is none that the eyes know, by a limit of familiarity.
    pub fn is_stranger(&self, familiar_from: f64) -> bool {
        self.familiarity.is_some_and(|familiarity| familiarity < familiar_from)
    }

    /// Returns whether the language model looked and named something else.
    pub fn is_contradicted(&self) -> bool {
        self.language_model.as_ref().is_some_and(|other| *other != self.name())
    }

    /// Returns name and value of every number.
    pub(super) fn numbers(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let alternatives =
            self.alternatives.iter().map(|other| ("diagnosis.alternatives.probability", other.probability));
        let familiarity = self.familiarity.map(|familiarity| ("diagnosis.familiarity", familiarity));
        let extent = self.extent.map(|extent| ("diagnosis.extent.discoloured_share", extent.discoloured_share));
        alternatives.chain(familiarity).chain(extent).chain([("diagnosis.probability", self.probability)])
    }
}
