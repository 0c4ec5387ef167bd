use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    time::Duration,
};

use cameras::FolderMode;
use serde_json::Value;
use toml::Table;

use super::*;
use crate::policy::{AmberAction, Deadline, Failsafe};

const LINE: &str = r#"
[data]
folder = "/data"

[cameras.belt]
type = "folder"
paths = ["in"]

[stations.press-4]
camera = "belt"
"#;

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
    let variables = variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
    Config::parse(text, Path::new("conf/line.toml"), variables).map_err(|error| error.to_string())
}

fn folder(camera: &CameraConfig) -> &cameras::FolderConfig {
    let CameraConfig::Folder(folder) = camera else { panic!("{camera:?}") };
    folder
}

fn configs_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs")
}

#[test]
fn fills_in_defaults_and_resolves_paths() {
    let config = parse(LINE, &[]).unwrap();
    assert_eq!(config.home.root(), Path::new("/data"));
    assert_eq!(config.models, RawModels::default());
    let [station] = config.stations.as_slice() else { panic!("{config:?}") };
    assert_eq!((station.name.as_str(), station.reference.as_str()), ("press-4", "press-4"));
    let camera = folder(&station.camera);
    assert_eq!((camera.paths.as_slice(), camera.mode), ([PathBuf::from("conf/in")].as_slice(), FolderMode::Once));
    assert_eq!((&station.policy, &station.limits), (&Policy::default(), &QualityLimits::default()));
}

#[test]
fn every_shipped_configuration_loads() {
    let mut seen = 0;
    for entry in fs::read_dir(configs_folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = fs::read_to_string(&path).unwrap();
            Config::parse(&text, &path, []).unwrap_or_else(|error| panic!("{error}"));
            seen += 1;
        }
    }
    assert!(seen >= 3, "{seen}");
}

#[test]
fn names_the_place_of_a_mistake_and_what_was_meant() {
    let cases = [
        ("ovrload = 1", "conf/line.toml:11:1: unknown key `stations.press-4.ovrload`, expected `overload`"),
        (
            "xyzzy = 1",
            "conf/line.toml:11:1: unknown key `stations.press-4.xyzzy`, expected one of `camera`, `deadline`, \
          `eyes`, `overload`, `policy`, `quality`, `reference`",
        ),
        (
            "[stations.press-4.policy]\n  ambr = 'pass'",
            "conf/line.toml:12:3: unknown key `stations.press-4.policy.ambr`, expected `amber`",
        ),
        (
            "policy = { amber_p = 1 }",
            "conf/line.toml:11:12: unknown key `stations.press-4.policy.amber_p`, expected `amber`",
        ),
        (
            "[cameras.b]\ntype = 'folder'\npath = ['x']",
            "conf/line.toml:13:1: unknown key `cameras.b.path`, expected `paths`",
        ),
        ("[modles]", "conf/line.toml:11:2: unknown key `modles`, expected `models`"),
        ("overload = 'all'", "conf/line.toml:11:12: unknown variant `all`, expected `every_frame` or `freshest`"),
        ("deadline = { within_millis = 'soon' }", "conf/line.toml:11:30: invalid type: string \"soon\", expected u64"),
        ("quality = { min_side_px = -1 }", "conf/line.toml:11:27: invalid value: integer `-1`, expected u32"),
        ("overload =", "conf/line.toml:11:11: string values must be quoted, expected literal string"),
    ];
    for (line, expected) in cases {
        assert_eq!(parse(&format!("{LINE}{line}\n"), &[]).unwrap_err(), expected, "{line}");
    }
}

#[test]
fn refuses_values_that_cannot_be() {
    let cases = [
        ("[models]\nthreads = 0", "models.threads: expected 1 or more, found 0"),
        (
            "[stations.press-4.policy]\namber_p_value = 1.5",
            "stations.press-4.policy.amber_p_value: expected 0 to 1, found 1.5",
        ),
        (
            "[stations.press-4.policy]\namber_p_value = nan",
            "stations.press-4.policy.amber_p_value: expected 0 to 1, found NaN",
        ),
        (
            "[stations.press-4.quality]\nmin_focus = inf",
            "stations.press-4.quality.min_focus: expected 0 or more, found inf",
        ),
        ("deadline = { within_millis = 0 }", "stations.press-4.deadline.within_millis: expected 1 or more, found 0"),
        (
            "[stations.b]\ncamera = 'belt'",
            "stations.press-4.camera: expected a camera of its own, found `belt`, which another station uses",
        ),
        ("[stations.b]\ncamera = 'bolt'", "stations.b.camera: expected the name of a camera (belt), found `bolt`"),
        ("[cameras.b]\ntype = 'folder'\npaths = []", "cameras.b: expected a station that uses it, found none"),
        (
            "[cameras.b]\ntype = 'folder'\npaths = []\n[stations.'../x']\ncamera = 'b'",
            "stations.../x: expected a name of 1 to 64 letters, digits, `.`, `-` and `_`, found `../x`",
        ),
    ];
    for (line, expected) in cases {
        assert_eq!(
            parse(&format!("{LINE}{line}\n"), &[]).unwrap_err(),
            format!("conf/line.toml: {expected}"),
            "{line}"
        );
    }
}

#[test]
fn the_environment_overrides_keys() {
    let config = parse(
        LINE,
        &[
            ("LOUPE__MODELS__THREADS", "4"),
            ("LOUPE__MODELS__BUNDLE", "7"),
            ("LOUPE__MODELS__DESCRIBE", "false"),
            ("LOUPE__STATIONS__PRESS_4__POLICY__AMBER", "review"),
            ("LOUPE__STATIONS__PRESS_4__DEADLINE__WITHIN_MILLIS", "250"),
            ("LOUPE__CAMERAS__BELT__PATHS", "['a', 'b']"),
            ("LOUPE__DATA__FOLDER", "/elsewhere"),
            ("LOUPE_LOG", "debug"),
        ],
    )
    .unwrap();
    let models = RawModels { threads: Some(4), bundle: "7".to_owned(), describe: false, ..RawModels::default() };
    assert_eq!(config.models, models);
    assert_eq!(config.home.root(), Path::new("/elsewhere"));
    let station = &config.stations[0];
    let deadline = Deadline { within: Duration::from_millis(250), failsafe: Failsafe::Review };
    assert_eq!((station.policy.amber, &station.policy.deadline), (AmberAction::Review, &Some(deadline)));
    let camera = folder(&station.camera);
    assert_eq!(camera.paths, [Path::new("conf/a"), Path::new("conf/b")]);
    assert_ne!(config.sha256, parse(LINE, &[]).unwrap().sha256);
}

#[test]
fn an_override_of_nothing_is_refused_by_name() {
    let cases = [
        ("LOUPE__MODELS__THRAEDS", "4", "unknown key `thraeds`, expected `threads`"),
        ("LOUPE__MODLES__THREADS", "4", "unknown key `modles`, expected `models`"),
        ("LOUPE__MODELS__THREADS", "many", "invalid type: string \"many\", expected u16"),
        ("LOUPE__", "4", "unknown key ``, expected one of `cameras`, `data`, `models`, `stations`"),
        ("LOUPE__MODELS__THREADS__MORE", "4", "unknown key `more`, expected no keys here"),
    ];
    for (variable, value, expected) in cases {
        let error = parse(LINE, &[(variable, value)]).unwrap_err();
        assert!(error.starts_with(&format!("environment variable {variable}: {expected}")), "{error}");
    }
}

#[test]
fn the_effective_configuration_reads_back_as_itself() {
    let config = parse(LINE, &[("LOUPE__MODELS__THREADS", "4")]).unwrap();
    assert_eq!(parse(&config.effective, &[]).unwrap(), config);
    assert_eq!(config.sha256.len(), 64);
}

fn tag(table: &Table) -> Option<&str> {
    table.get("type").and_then(toml::Value::as_str)
}

/// Returns every key that `schema` knows and that `table` does not show; of tables with names, one of each kind must show it.
fn missing(table: &Table, schema: &Value, root: &Value, path: &str) -> BTreeSet<String> {
    let shape = keys::shape(schema, root, tag(table));
    let mut missing = BTreeSet::new();
    for (key, schema) in &shape.keys {
        let path = format!("{path}.{key}");
        match table.get(*key) {
            None => drop(missing.insert(path)),
            Some(toml::Value::Table(inner)) => missing.extend(self::missing(inner, schema, root, &path)),
            Some(_) => {}
        }
    }
    let Some(schema) = shape.named else { return missing };
    let mut by_kind: BTreeMap<Option<&str>, BTreeSet<String>> = BTreeMap::new();
    for inner in table.values().map(|value| value.as_table().unwrap()) {
        let lacks = self::missing(inner, schema, root, &format!("{path}.*"));
        by_kind.entry(tag(inner)).and_modify(|all| all.retain(|key| lacks.contains(key))).or_insert(lacks);
    }
    missing.extend(by_kind.into_values().flatten());
    missing
}

#[test]
fn the_reference_shows_and_explains_every_key_and_states_the_defaults() {
    let text = fs::read_to_string(configs_folder().join("reference.toml")).unwrap();
    let (table, schema) = (toml::from_str::<Table>(&text).unwrap(), schema());
    assert_eq!(missing(&table, &schema, &schema, ""), BTreeSet::new());
    let lines: Vec<&str> = text.lines().collect();
    for (above, line) in lines.iter().zip(&lines[1..]) {
        let is_key = line.contains(" = ") && !line.starts_with('#') || line.starts_with('[');
        assert!(!is_key || above.starts_with('#'), "no comment above: {line}");
    }
    let raw: RawConfig = toml::from_str(&text).unwrap();
    let station = &raw.stations["press-4"];
    assert_eq!((&station.quality, &station.policy), (&QualityLimits::default(), &RawPolicy::default()));
    assert_eq!((station.overload, raw.models.describe), (Overload::default(), RawModels::default().describe));
    assert_eq!(station.deadline.as_ref().unwrap().failsafe, Failsafe::default());
}

#[test]
fn the_reference_explains_every_camera() {
    let (text, schema) = (fs::read_to_string(configs_folder().join("reference.toml")).unwrap(), schema());
    let raw: RawConfig = toml::from_str(&text).unwrap();
    let variants = schema["$defs"]["CameraConfig"]["oneOf"].as_array().unwrap();
    let known: BTreeSet<&str> =
        variants.iter().map(|variant| variant["properties"]["type"]["const"].as_str().unwrap()).collect();
    let cameras = serde_json::to_value(&raw.cameras).unwrap();
    let shown: BTreeSet<&str> =
        cameras.as_object().unwrap().values().map(|camera| camera["type"].as_str().unwrap()).collect();
    assert_eq!(shown, known);
}

#[test]
fn trained_eyes_are_of_a_domain_or_of_a_head() {
    let station = |eyes: &str| format!("{LINE}\n[stations.press-4.eyes]\n{eyes}\n");
    let eyes = |text: &str| parse(&station(text), &[]).map(|config| config.stations[0].clone());
    let domain = eyes("domain = \"crops\"\nsure_from = 0.8").unwrap();
    assert_eq!(domain.eyes, Some(EyesSource::Domain("crops".to_owned())));
    assert!((domain.policy.sure_from - 0.8).abs() < 1e-9);
    let Some(EyesSource::Domain(file)) = eyes("domain = \"own.safetensors\"").unwrap().eyes else { panic!("a domain") };
    assert_eq!(file, "conf/own.safetensors");
    let head = eyes("head = \"heads/lid\"").unwrap().eyes;
    assert!(matches!(head, Some(EyesSource::Head { folder, .. }) if folder == Path::new("conf/heads/lid")));
    for (text, expected) in [
        ("", "stations.press-4.eyes: expected either `domain` or `head`, found neither"),
        (
            "domain = \"crops\"\nhead = \"heads/lid\"",
            "stations.press-4.eyes: expected either `domain` or `head`, found both",
        ),
        ("domain = \"crops\"\nsure_from = 1.5", "stations.press-4.eyes.sure_from: expected 0 to 1, found 1.5"),
    ] {
        let error = eyes(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}
