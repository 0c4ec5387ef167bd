//! Models by their id on the Hugging Face hub, in the cache folder that its other tools use too (`HF_HOME`).
//!
//! Only the files that Loupe reads are fetched, all of one commit. What was interrupted goes on where it was. Large files, which the
//! hub names by their SHA-256, are hashed once, when they are first used; small ones have only their length checked.

mod needed;

use std::{
    env, fmt,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use crate::{
    ModelError,
    cache::{copy_and_hash, io_error},
    disk,
    smolvlm::{GRAPHS_FOLDER, GraphVariants},
};
use hf_hub::{
    Cache, Repo, RepoType,
    api::{
        Progress,
        sync::{Api, ApiBuilder, ApiError, Metadata},
    },
};

use needed::{INDEX, Missing, OPTIONAL, REQUIRED, needed};

/// Set to 1, it keeps Loupe and other tools from asking the hub.
const OFFLINE_VARIABLE: &str = "HF_HUB_OFFLINE";
/// How often an interrupted file is taken up again before the error is told.
const ATTEMPTS: usize = 3;
/// Characters of a SHA-256 in hexadecimal.
const SHA256_LEN: usize = 64;

/// A model on the hub at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubId {
    id: String,
    revision: String,
}

impl HubId {
    /// Returns the model that `text`, `OWNER/NAME` or `OWNER/NAME@REVISION`, names; `None` where it names none.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (owner, name) = id.split_once('/')?;
        let is_word = |word: &str| {
            let letters = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
            !word.is_empty() && word.chars().all(letters) && !word.starts_with('.')
        };
        let is_whole = is_word(owner) && is_word(name) && is_word(revision);
        is_whole.then(|| Self { id: id.to_owned(), revision: revision.to_owned() })
    }

    fn at(&self, revision: &str) -> Repo {
        Repo::with_revision(self.id.clone(), RepoType::Model, revision.to_owned())
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}@{}", self.id, self.revision)
    }
}

/// What has come of a file that is being fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fetched<'a> {
    /// The file.
    pub file: &'a str,
    /// Bytes that are there, those of an earlier run included.
    pub bytes: u64,
    /// Bytes of the whole file.
    pub total_bytes: u64,
}

/// The hub and what of it is cached.
#[derive(Debug, Clone)]
pub struct Hub {
    cache: Cache,
    endpoint: Option<String>,
    is_offline: bool,
}

impl Hub {
    /// Returns the hub as the environment describes it: `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE`.
    ///
    /// # Errors
    /// [`ModelError::NoCacheFolder`] when neither `HF_HOME` nor `HOME` is set.
    pub fn from_env() -> Result<Self, ModelError> {
        if ["HF_HOME", "HOME"].iter().all(|variable| env::var_os(variable).is_none()) {
            return Err(ModelError::NoCacheFolder);
        }
        let offline = env::var(OFFLINE_VARIABLE).unwrap_or_default().to_ascii_lowercase();
        let is_offline = ["1", "true", "yes", "on"].contains(&offline.as_str());
        Ok(Self { cache: Cache::from_env(), endpoint: env::var("HF_ENDPOINT").ok(), is_offline })
    }

    /// Returns the folder of `model` with `graphs` or else safetensors: the cached one, or one that is fetched now.
    ///
    /// # Errors
    /// As [`Self::pull`].
    pub fn require(
        &self,
        model: &HubId,
        graphs: Option<GraphVariants>,
        progress: impl FnMut(Fetched<'_>),
    ) -> Result<PathBuf, ModelError> {
        match self.cached(model, graphs)? {
            Some(folder) => Ok(folder),
            None => self.pull(model, graphs, progress),
        }
    }

    /// Returns the folder of `model` as it was last pulled whole, with `graphs` where some are asked for, else with safetensors
    /// or, offline, any graphs; `None` where it was not.
    ///
    /// # Errors
    /// When a file of it does not hold what the hub says.
    pub fn cached(&self, model: &HubId, graphs: Option<GraphVariants>) -> Result<Option<PathBuf>, ModelError> {
        let place = self.cache.repo(model.at(&model.revision));
        let Some(config) = place.get(REQUIRED[0]) else { return Ok(None) };
        let folder = config.parent().unwrap_or(Path::new("")).to_owned();
        let mut files = disk::names_in(&folder).map_err(io_error(&folder))?;
        let place = folder.join(GRAPHS_FOLDER);
        let there = if place.is_dir() { disk::names_in(&place).map_err(io_error(&place))? } else { Vec::new() };
        files.extend(there.iter().map(|name| format!("{GRAPHS_FOLDER}/{name}")));
        // What happens to be cached must not decide what is computed while the hub can be asked.
        let takes_any = graphs.is_none() && self.is_offline;
        let any = |missing| takes_any.then(|| GraphVariants::closest(&there)).flatten().ok_or(missing);
        let needed = needed(&files, graphs).or_else(|missing| needed(&files, Some(any(missing)?)));
        let Ok(needed) = needed else { return Ok(None) };
        // Another tool may have fetched the weights without what says how pictures are cut.
        if !OPTIONAL.iter().any(|name| needed.contains(name)) {
            return Ok(None);
        }
        if needed.contains(&INDEX) && !parts_of(&folder)?.iter().all(|part| files.contains(part)) {
            return Ok(None);
        }
        needed.iter().try_for_each(|file| verify(&folder.join(file)))?;
        Ok(Some(folder))
    }

    /// Fetches the files of `model` that the cache lacks, with `graphs` or else safetensors, calls `progress` meanwhile, and returns
    /// their folder.
    ///
    /// # Errors
    /// When the hub cannot be reached, has no such model or lacks a file that Loupe needs, the disk is full, or a file does not
    /// hold what the hub says, which removes it.
    pub fn pull(
        &self,
        model: &HubId,
        graphs: Option<GraphVariants>,
        mut progress: impl FnMut(Fetched<'_>),
    ) -> Result<PathBuf, ModelError> {
        if self.is_offline {
            let folder = self.cache.path().join(model.at(&model.revision).folder_name());
            let expected = format!("it in {}, since {OFFLINE_VARIABLE} is set", folder.display());
            return Err(pull_error(model, expected, "no whole copy"));
        }
        let api = self.api(model)?;
        let info = api.repo(model.at(&model.revision)).info().map_err(|error| self.unreached(model, &error))?;
        let names: Vec<String> = info.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
        let needed = needed(&names, graphs).map_err(|Missing { file, found }| pull_error(model, file, found))?;
        // It becomes the name of a folder.
        if !info.sha.chars().all(|letter| letter.is_ascii_hexdigit()) {
            return Err(pull_error(model, "a commit in hexadecimal", &info.sha));
        }
        for file in needed {
            self.fetch((model, &api, &info.sha), file, &mut progress)?;
        }
        // Last: a revision that has a commit is whole.
        let place = self.cache.repo(model.at(&model.revision));
        place.create_ref(&info.sha).map_err(io_error(self.cache.path()))?;
        Ok(place.pointer_path(&info.sha))
    }

    fn api(&self, model: &HubId) -> Result<Api, ModelError> {
        let mut builder = ApiBuilder::from_cache(self.cache.clone()).with_progress(false);
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint.clone());
        }
        builder.build().map_err(|error| self.unreached(model, &error))
    }

    /// Fetches one file of a commit if it is not there.
    fn fetch(
        &self,
        (model, api, commit): (&HubId, &Api, &str),
        file: &str,
        progress: &mut impl FnMut(Fetched<'_>),
    ) -> Result<(), ModelError> {
        let path = self.cache.repo(model.at(commit)).pointer_path(commit).join(file);
        if path.exists() {
            return verify(&path);
        }
        // A link whose file somebody has removed would be in the way.
        _ = fs::remove_file(&path);
        let repo = api.repo(model.at(commit));
        let metadata = api.metadata(&repo.url(file)).map_err(|error| self.unreached(model, &error))?;
        if metadata.commit_hash() != commit {
            return Err(pull_error(model, format!("{file} of commit {commit}"), metadata.commit_hash()));
        }
        self.make_room(model, file, &metadata)?;
        let mut attempt = 1;
        loop {
            let watch = Watch { file: String::new(), bytes: 0, total_bytes: 0, progress };
            match repo.download_with_progress(file, watch) {
                Ok(path) => return verify(&path),
                Err(error) if attempt == ATTEMPTS => return Err(self.unreached(model, &error)),
                Err(_) => attempt += 1,
            }
        }
    }

    /// Checks that a file has a name by its content and room on the disk; removes what would keep the download from going on.
    fn make_room(&self, model: &HubId, file: &str, metadata: &Metadata) -> Result<(), ModelError> {
        let (name, bytes) = (metadata.etag(), metadata.size() as u64);
        if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_hexdigit()) {
            return Err(pull_error(model, format!("a hash as the ETag of {file}"), name));
        }
        let part = self.cache.repo(model.at(metadata.commit_hash())).blob_path(name).with_extension("part");
        let there = fs::metadata(&part).map_or(0, |metadata| metadata.len());
        if there >= bytes {
            // All of it came, but it was never put into its place: the hub has nothing to go on with.
            _ = fs::remove_file(&part);
        }
        let root = self.cache.path();
        fs::create_dir_all(root).map_err(io_error(root))?;
        let free = disk::free_bytes(root).map_err(io_error(root))?;
        if free > bytes.saturating_sub(there) {
            return Ok(());
        }
        let expected = format!("{} MB for {file} in {}", bytes.div_ceil(1_000_000), root.display());
        Err(pull_error(model, expected, format!("{} MB", free / 1_000_000)))
    }

    fn unreached(&self, model: &HubId, error: &ApiError) -> ModelError {
        let place = self.cache.path().display();
        let expected = format!("an answer of the hub, or a whole copy in {place} ({OFFLINE_VARIABLE} is not set)");
        pull_error(model, expected, error)
    }
}

/// Passes on how a file comes along.
struct Watch<'a, P> {
    file: String,
    bytes: u64,
    total_bytes: u64,
    progress: &'a mut P,
}

impl<P: FnMut(Fetched<'_>)> Progress for Watch<'_, P> {
    fn init(&mut self, size: usize, filename: &str) {
        (self.file, self.bytes, self.total_bytes) = (filename.to_owned(), 0, size as u64);
    }

    fn update(&mut self, size: usize) {
        self.bytes += size as u64;
        (self.progress)(Fetched { file: &self.file, bytes: self.bytes, total_bytes: self.total_bytes });
    }

    fn finish(&mut self) {}
}

/// Returns the names of the files that the index in `folder` tells of.
fn parts_of(folder: &Path) -> Result<Vec<String>, ModelError> {
    let path = folder.join(INDEX);
    let text = fs::read(&path).map_err(io_error(&path))?;
    let index: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| ModelError::malformed(&path, "an index of tensors", error))?;
    let files = index["weight_map"].as_object().into_iter().flat_map(|map| map.values());
    Ok(files.filter_map(|file| file.as_str().map(str::to_owned)).collect())
}

/// Checks a cached file whose content is named by its SHA-256. One that is found right gets a mark beside it with its length and
/// time, which spares the next start the hashing; one that is wrong is removed.
fn verify(path: &Path) -> Result<(), ModelError> {
    let blob = fs::canonicalize(path).map_err(io_error(path))?;
    let expected = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if expected.len() != SHA256_LEN || !expected.chars().all(|letter| letter.is_ascii_hexdigit()) {
        return Ok(());
    }
    let metadata = fs::metadata(&blob).map_err(io_error(&blob))?;
    let mark = blob.with_extension("verified");
    let state = format!("{} {:?}", metadata.len(), metadata.modified().map_err(io_error(&blob))?);
    if fs::read_to_string(&mark).is_ok_and(|marked| marked == state) {
        return Ok(());
    }
    let file = File::open(&blob).map_err(io_error(&blob))?;
    let (_, found) = copy_and_hash(file, &mut io::sink()).map_err(io_error(&blob))?;
    if found == expected {
        // A cache that this user cannot write to is hashed at every start instead.
        _ = fs::write(&mark, state);
        return Ok(());
    }
    let is_removed = [path, &blob].iter().all(|wrong| fs::remove_file(wrong).is_ok());
    let found = if is_removed { format!("{found}; the file is removed") } else { found };
    Err(ModelError::malformed(path, format!("SHA-256 {expected}"), found))
}

fn pull_error(model: &HubId, expected: impl fmt::Display, found: impl fmt::Display) -> ModelError {
    ModelError::Pull { file: model.to_string(), expected: expected.to_string(), found: found.to_string() }
}

#[cfg(test)]
mod tests;
