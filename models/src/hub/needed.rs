//! Which files of a model Loupe reads.

use crate::smolvlm::{GRAPHS_FOLDER, GraphVariants, is_graph, listed_graphs};

/// What Loupe reads of a model, and what of it a model may lack. Weights are one file, those of an index, or published graphs.
pub(super) const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];
pub(super) const OPTIONAL: [&str; 2] = ["preprocessor_config.json", "processor_config.json"];
pub(super) const WEIGHTS: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";
/// Parts of weights in several files: `model-00001-of-00002.safetensors`.
const PART: &str = "model-";

/// A file that a model lacks, and what it has instead.
pub(super) struct Missing {
    pub(super) file: String,
    pub(super) found: String,
}

/// Returns which of `names` Loupe reads.
pub(super) fn needed(names: &[String], graphs: Option<GraphVariants>) -> Result<Vec<&str>, Missing> {
    let has = |name: &&str| names.iter().any(|known| known == name);
    if let Some(missing) = REQUIRED.iter().find(|name| !has(name)) {
        return Err(Missing { file: (*missing).to_owned(), found: "no such file".to_owned() });
    }
    let mut needed: Vec<&str> = REQUIRED.into_iter().chain(OPTIONAL.into_iter().filter(has)).collect();
    needed.extend(match graphs {
        Some(graphs) => graphs_in(names, graphs)?,
        None => safetensors_in(names)?,
    });
    Ok(needed)
}

fn safetensors_in(names: &[String]) -> Result<Vec<&str>, Missing> {
    let names = || names.iter().map(String::as_str);
    let is_part = |name: &&str| name.starts_with(PART) && name.ends_with(".safetensors") && !name.contains('/');
    match [INDEX, WEIGHTS].into_iter().find(|name| names().any(|known| known == *name)) {
        Some(INDEX) => Ok(names().filter(is_part).chain([INDEX]).collect()),
        Some(_) => Ok(vec![WEIGHTS]),
        None => {
            let has_graphs = names().any(is_published);
            let found = if has_graphs { "no such file, but graphs, which --graphs takes" } else { "no such file" };
            Err(Missing { file: format!("{WEIGHTS} or {INDEX}"), found: found.to_owned() })
        }
    }
}

/// Returns the files of graphs. The data of a graph, which bear its name, come before it: where it is, they are.
fn graphs_in(names: &[String], graphs: GraphVariants) -> Result<Vec<&str>, Missing> {
    let mut files = Vec::new();
    for file in graphs.files().map(|file| format!("{GRAPHS_FOLDER}/{file}")) {
        let of_graph = |name: &&str| name.strip_prefix(&file).is_some_and(|rest| rest.contains("data"));
        files.extend(names.iter().map(String::as_str).filter(of_graph));
        let Some(graph) = names.iter().find(|name| **name == file) else {
            let graphs = names.iter().map(String::as_str).filter(|name| is_published(name));
            return Err(Missing { file, found: listed_graphs(graphs) });
        };
        files.push(graph);
    }
    Ok(files)
}

fn is_published(name: &str) -> bool {
    name.strip_prefix(GRAPHS_FOLDER).is_some_and(|rest| rest.starts_with('/') && is_graph(rest))
}
