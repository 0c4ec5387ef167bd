use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use super::{needed::WEIGHTS, *};
use crate::hash::sha256;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server says, and what it was asked.
#[derive(Debug, Default)]
struct Site {
    /// Content and hash by name.
    files: BTreeMap<String, (Vec<u8>, String)>,
    /// Downloads that are broken off after so many bytes, one after the other.
    breaks: Vec<usize>,
    /// Names and first bytes of downloads.
    asked: Vec<(String, usize)>,
}

impl Site {
    fn of(files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|&(name, content)| (name.to_owned(), (content.to_vec(), sha256(content))));
        Self { files: files.collect(), ..Self::default() }
    }
}

/// A hub on the loopback device.
struct Server {
    site: Arc<Mutex<Site>>,
    listener: TcpListener,
    endpoint: String,
}

impl Server {
    fn start(site: Site) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let site = Arc::new(Mutex::new(site));
        let (accepting, served) = (listener.try_clone().unwrap(), Arc::clone(&site));
        thread::Builder::new()
            .name("hub".into())
            .spawn(move || {
                for stream in accepting.incoming().map_while(Result::ok) {
                    if answer(&stream, &mut served.lock().unwrap()).is_none() {
                        break;
                    }
                }
            })
            .unwrap();
        Self { site, listener, endpoint }
    }

    fn hub(&self, folder: &Path) -> Hub {
        Hub { cache: Cache::new(folder.to_owned()), endpoint: Some(self.endpoint.clone()), is_offline: false }
    }
}

impl Drop for Server {
    /// An empty connection ends the thread.
    fn drop(&mut self) {
        _ = TcpStream::connect(self.listener.local_addr().unwrap());
    }
}

/// Answers one request and closes; `None` where there was none.
fn answer(stream: &TcpStream, site: &mut Site) -> Option<()> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let request = lines.next()?;
    let range = lines.find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
    let path = request.split(' ').nth(1)?;
    let mut stream = stream;
    let response = if path.starts_with("/api/models/") {
        let siblings: Vec<_> = site.files.keys().map(|name| serde_json::json!({"rfilename": name})).collect();
        let body = serde_json::json!({"siblings": siblings, "sha": COMMIT}).to_string();
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    } else {
        part(path.split_once(&format!("/resolve/{COMMIT}/"))?.1, &range?, site)
    };
    // The other side may have gone.
    _ = stream.write_all(&response);
    Some(())
}

/// Returns the answer to a request for a part of a file: `0-0` asks for what is known about it.
fn part(name: &str, range: &str, site: &mut Site) -> Vec<u8> {
    let Some((content, hash)) = site.files.get(name) else {
        return b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".to_vec();
    };
    let (start, end) = range.split_once('-').unwrap();
    let (start, end) = (start.parse::<usize>().unwrap(), end.parse().map_or(content.len(), |end: usize| end + 1));
    let mut body = &content[start..end];
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nETag: \"{hash}\"\r\nX-Repo-Commit: {COMMIT}\r\n\
         Content-Length: {}\r\nContent-Range: bytes {start}-{}/{}\r\n\r\n",
        body.len(),
        end - 1,
        content.len()
    );
    if range != "0-0" {
        site.asked.push((name.to_owned(), start));
        if name == WEIGHTS && !site.breaks.is_empty() {
            body = &body[..site.breaks.remove(0)];
        }
    }
    [head.as_bytes(), body].concat()
}

fn id() -> HubId {
    HubId::parse("Owner/Model-1.0").unwrap()
}

fn whole() -> Site {
    Site::of(&[
        ("config.json", b"{}"),
        ("tokenizer.json", b"[]"),
        ("processor_config.json", b"[1]"),
        ("README.md", b"not this"),
        ("onnx/model.onnx", b"nor that"),
        ("model.safetensors", &[7; 5000]),
    ])
}

#[test]
fn tells_ids_from_paths() {
    for text in ["Owner/Model-1.0", "o/m@v1.0", "a_b/c@0123abc"] {
        assert!(HubId::parse(text).is_some(), "{text}");
    }
    for text in ["", "model", "/o/m", "o/m/n", "./m", "../m", "o/..", "o/m@", "o/m@../x", "o m/n", "o/m@a@b"] {
        assert_eq!(HubId::parse(text), None, "{text}");
    }
    assert_eq!(HubId::parse("o/m@v1").unwrap().to_string(), "o/m@v1");
}

#[test]
fn fetches_what_is_needed_once() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(whole());
    let hub = server.hub(folder.path());
    assert_eq!(hub.cached(&id(), None).unwrap(), None);
    let mut last = Vec::new();
    let path = hub
        .require(&id(), None, |Fetched { file, bytes, total_bytes }| last.push((file.to_owned(), bytes, total_bytes)));
    let path = path.unwrap();
    assert_eq!(fs::read(path.join(WEIGHTS)).unwrap(), [7; 5000]);
    assert_eq!(last.last(), Some(&(WEIGHTS.to_owned(), 5000, 5000)));
    assert!(!path.join("README.md").exists() && !path.join("onnx").exists());
    let asked = server.site.lock().unwrap().asked.len();
    assert_eq!(asked, 4);
    assert_eq!(hub.require(&id(), None, |_| ()).unwrap(), path);
    let offline = Hub { is_offline: true, endpoint: None, ..hub };
    assert_eq!(offline.require(&id(), None, |_| ()).unwrap(), path);
    assert_eq!(server.site.lock().unwrap().asked.len(), asked, "fetched again");
}

#[test]
fn goes_on_where_it_was_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Site { breaks: vec![1000, 500, 250], ..whole() });
    let hub = server.hub(folder.path());
    let error = hub.pull(&id(), None, |_| ()).unwrap_err().to_string();
    assert!(error.starts_with("pulling Owner/Model-1.0@main: expected an answer of the hub"), "{error}");
    assert_eq!(hub.cached(&id(), None).unwrap(), None, "a part is taken for the whole");
    let path = hub.pull(&id(), None, |_| ()).unwrap();
    assert_eq!(fs::read(path.join(WEIGHTS)).unwrap(), [7; 5000]);
    let site = server.site.lock().unwrap();
    let starts: Vec<usize> = site.asked.iter().filter(|(name, _)| name == WEIGHTS).map(|(_, start)| *start).collect();
    assert_eq!(starts, [0, 1000, 1500, 1750]);
}

#[test]
fn removes_what_has_another_hash() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = whole();
    let wrong = sha256("something else");
    let right = std::mem::replace(&mut site.files.get_mut(WEIGHTS).unwrap().1, wrong.clone());
    let server = Server::start(site);
    let hub = server.hub(folder.path());
    let error = hub.pull(&id(), None, |_| ()).unwrap_err().to_string();
    assert!(error.contains(&format!("expected SHA-256 {wrong}, found {right}; the file is removed")), "{error}");
    assert_eq!(hub.cached(&id(), None).unwrap(), None);
    server.site.lock().unwrap().files.get_mut(WEIGHTS).unwrap().1 = right;
    let path = hub.pull(&id(), None, |_| ()).unwrap();
    // What changes later is found too.
    let blob = fs::canonicalize(path.join(WEIGHTS)).unwrap();
    fs::write(&blob, [8; 5000]).unwrap();
    let error = hub.cached(&id(), None).unwrap_err().to_string();
    assert!(error.contains("expected SHA-256"), "{error}");
}

/// A process may end between the last byte and the change of the name; links may outlive their files.
#[test]
fn starts_over_what_was_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(whole());
    let place = folder.path().join("models--Owner--Model-1.0");
    let snapshot = place.join("snapshots").join(COMMIT);
    fs::create_dir_all(place.join("blobs")).unwrap();
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(place.join("blobs").join(sha256([7; 5000])).with_extension("part"), [7; 5000]).unwrap();
    std::os::unix::fs::symlink("../../blobs/gone", snapshot.join("config.json")).unwrap();
    let path = server.hub(folder.path()).pull(&id(), None, |_| ()).unwrap();
    assert_eq!((fs::read(path.join(WEIGHTS)).unwrap(), path), (vec![7; 5000], snapshot));
}

#[test]
fn takes_no_path_for_a_hash() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = whole();
    site.files.get_mut("config.json").unwrap().1 = "../../x".to_owned();
    let error = Server::start(site).hub(folder.path()).pull(&id(), None, |_| ()).unwrap_err().to_string();
    assert!(error.ends_with("expected a hash as the ETag of config.json, found ../../x"), "{error}");
}

#[test]
fn says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let pull = |site: Site| Server::start(site).hub(folder.path()).pull(&id(), None, |_| ()).unwrap_err().to_string();
    let cases = [
        (pull(Site::of(&[("config.json", b"{}")])), "expected tokenizer.json, found no such file"),
        (
            pull(Site::of(&[("config.json", b"{}"), ("tokenizer.json", b"[]")])),
            "expected model.safetensors or model.safetensors.index.json, found no such file",
        ),
    ];
    for (found, expected) in cases {
        assert_eq!(found, format!("pulling Owner/Model-1.0@main: {expected}"));
    }
    let offline = Hub { cache: Cache::new(folder.path().to_owned()), endpoint: None, is_offline: true };
    let error = offline.require(&id(), None, |_| ()).unwrap_err().to_string();
    let place = folder.path().join("models--Owner--Model-1.0");
    let expected = format!("expected it in {}, since HF_HUB_OFFLINE is set, found no whole copy", place.display());
    assert_eq!(error, format!("pulling Owner/Model-1.0@main: {expected}"));
    // Nobody listens there any more.
    let endpoint = Server::start(whole()).endpoint.clone();
    let gone = Hub { endpoint: Some(endpoint), is_offline: false, ..offline };
    let error = gone.require(&id(), None, |_| ()).unwrap_err().to_string();
    assert!(
        error.contains(&format!("a whole copy in {} (HF_HUB_OFFLINE is not set)", folder.path().display())),
        "{error}"
    );
}

#[test]
fn takes_all_parts_of_an_index_or_none() {
    let folder = tempfile::tempdir().unwrap();
    let index = br#"{"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}"#;
    let server = Server::start(Site::of(&[
        ("config.json", b"{}"),
        ("tokenizer.json", b"[]"),
        ("preprocessor_config.json", b"{}"),
        ("model.safetensors.index.json", index),
        ("model-1-of-2.safetensors", b"one"),
        ("model-2-of-2.safetensors", b"two"),
    ]));
    let hub = server.hub(folder.path());
    let path = hub.pull(&id(), None, |_| ()).unwrap();
    assert_eq!(hub.cached(&id(), None).unwrap(), Some(path.clone()));
    for file in ["model-2-of-2.safetensors", "preprocessor_config.json"] {
        fs::remove_file(path.join(file)).unwrap();
        assert_eq!(hub.cached(&id(), None).unwrap(), None, "without {file}");
        hub.require(&id(), None, |_| ()).unwrap();
        assert_eq!(hub.cached(&id(), None).unwrap(), Some(path.clone()), "with {file} again");
    }
}

#[test]
fn fetches_the_graphs_that_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = whole();
    for variant in ["", "_q4", "_int8"] {
        for part in ["vision_encoder", "embed_tokens", "decoder_model_merged"] {
            let name = format!("onnx/{part}{variant}.onnx");
            let content = name.clone().into_bytes();
            site.files.insert(name, (content.clone(), sha256(content)));
        }
    }
    let data = "onnx/decoder_model_merged_q4.onnx_data";
    site.files.insert(data.to_owned(), (vec![9; 100], sha256([9; 100])));
    let server = Server::start(site);
    let hub = server.hub(folder.path());
    let graphs = |text: &str| Some(text.parse::<GraphVariants>().unwrap());
    let path = hub.pull(&id(), graphs("q4,int8,q4"), |_| ()).unwrap();
    let names = disk::names_in(&path.join("onnx")).unwrap();
    let expected = [
        "decoder_model_merged_q4.onnx",
        "decoder_model_merged_q4.onnx_data",
        "embed_tokens_int8.onnx",
        "vision_encoder_q4.onnx",
    ];
    assert_eq!((names.as_slice(), path.join(WEIGHTS).exists()), (expected.map(str::to_owned).as_slice(), false));
    let asked: Vec<String> = server.site.lock().unwrap().asked.iter().map(|(name, _)| name.clone()).collect();
    let place = |name: &str| asked.iter().position(|asked| asked == name);
    assert!(place(data) < place("onnx/decoder_model_merged_q4.onnx"), "{asked:?}");
    for (wanted, cached) in [("q4,int8,q4", Some(path.clone())), ("q4", None), ("fp32", None)] {
        assert_eq!(hub.cached(&id(), graphs(wanted)).unwrap(), cached, "{wanted}");
    }
    assert_eq!(hub.cached(&id(), None).unwrap(), None, "safetensors can be had");
    let offline = Hub { is_offline: true, ..server.hub(folder.path()) };
    assert_eq!(offline.cached(&id(), None).unwrap(), Some(path.clone()), "offline, what is there");
    let error = hub.pull(&id(), graphs("bnb4"), |_| ()).unwrap_err().to_string();
    let expected =
        "pulling Owner/Model-1.0@main: expected onnx/vision_encoder_bnb4.onnx, found onnx/decoder_model_merged.onnx, ";
    assert!(error.starts_with(expected), "{error}");
    server.site.lock().unwrap().files.remove(WEIGHTS);
    let error = hub.pull(&id(), None, |_| ()).unwrap_err().to_string();
    assert!(error.ends_with("found no such file, but graphs, which --graphs takes"), "{error}");
    assert_eq!(offline.require(&id(), None, |_| ()).unwrap(), path);
}
