//! The binary `loupe` in a folder of its own.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with everything that `loupe` reads and writes.
pub(crate) struct Bench {
    folder: TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// `loupe` with `arguments`, run in this folder, without any model file and without a python3 to fetch one.
    pub(crate) fn loupe(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(env!("CARGO_BIN_EXE_loupe"));
        command.args(arguments).env("PATH", self.folder.path());
        command
    }

    /// `loupe` with the model files of this machine, but for those whose role is in `without`; `None`, with the reason printed, where
    /// one is missing.
    pub(crate) fn with_models(&self, arguments: &[&str], without: &[&str]) -> Option<Command> {
        let listed = self.loupe(&["models", "list", "--json"]).env_remove("LOUPE_CACHE").output().unwrap();
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        for file in listed["files"].as_array().unwrap() {
            let is_needed = !without.iter().any(|role| file["role"] == *role);
            if is_needed && file["state"] != "verified" {
                skip(&format!("needs {}, which is not in the cache", file["name"]));
                return None;
            }
        }
        let mut command = self.loupe(arguments);
        command.env_remove("LOUPE_CACHE");
        Some(command)
    }

    /// Another program with the same surroundings.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("LOUPE_DATA", self.path("data")).env("LOUPE_CACHE", self.path("cache"));
        command.env("LOUPE_LOG", "error").env_remove("ORT_DYLIB_PATH");
        command
    }

    /// The one number that `sql` asks of the database that the station writes.
    pub(crate) fn number(&self, sql: &str) -> u64 {
        let database = rusqlite::Connection::open(self.path("data/db/loupe.sqlite")).unwrap();
        database.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.loupe(arguments).output().unwrap()
    }
}

/// What was printed to standard error, which must be one line.
pub(crate) fn one_line(output: &Output) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    stderr.trim_end().to_owned()
}

pub(crate) fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([name, &child.id().to_string()]).status().unwrap().success());
}

/// Runs `script` where it may mount, with the KiB that it is to leave on a disk and with the program; returns whether this machine
/// lets it.
#[cfg(target_os = "linux")]
pub(crate) fn mounting(bench: &Bench, script: &str, room_kib: &str) -> bool {
    let arguments = ["-rm", "sh", "-c", script, "sh", room_kib, env!("CARGO_BIN_EXE_loupe")];
    let output = bench.command("unshare").args(arguments).env_remove("LOUPE_CACHE").output();
    let is_done = output.is_ok_and(|output| output.status.success());
    if !is_done {
        skip("expected unshare with the right to mount a tmpfs, found none");
    }
    is_done
}

/// Says why a test, or a part of one, is not run on this machine.
pub(crate) fn skip(why: &str) {
    writeln!(std::io::stdout(), "skipped: {why}").unwrap();
}

/// The only entry of `folder`.
pub(crate) fn only_entry(folder: &Path) -> PathBuf {
    let mut entries = fs::read_dir(folder).unwrap();
    let entry = entries.next().unwrap().unwrap().path();
    assert!(entries.next().is_none(), "{}", folder.display());
    entry
}
