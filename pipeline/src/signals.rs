//! SIGINT and SIGTERM. Of a run, the first asks to drain, the second to stop at once, the third ends the process. Training and evaluation, which
//! can go on later, end at the first, with a word about that.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    sync::{Arc, atomic::AtomicBool},
    thread,
    thread::JoinHandle,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    iterator::{Handle, Signals},
};

use crate::stage::Stop;

/// Listens for signals until it is dropped.
#[derive(Debug)]
pub struct SignalWatch {
    handle: Handle,
    listener: Option<JoinHandle<()>>,
}

impl SignalWatch {
    /// Returns a watch that tells `stop` about signals.
    ///
    /// # Errors
    /// When the operating system refuses the handlers or the thread.
    pub fn start(stop: Stop) -> io::Result<Self> {
        Self::listen(move |signal| obey(&stop, signal))
    }

    /// Returns a watch that ends the process by the first signal, after one line on standard error: from which of the files `kept`, the latest
    /// first, the same command will go on.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn farewell(kept: Vec<PathBuf>) -> io::Result<Self> {
        // Whoever reads standard error may have stopped reading: then the second signal ends the process.
        let is_leaving = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_default(signal, Arc::clone(&is_leaving))?;
            flag::register(signal, Arc::clone(&is_leaving))?;
        }
        Self::listen(move |signal| {
            // A progress bar may stand in the line.
            let fresh_line = if io::stderr().is_terminal() { "\r\x1b[2K" } else { "" };
            writeln!(io::stderr(), "{fresh_line}{}", last_words(&kept)).ok();
            signal_hook::low_level::emulate_default_handler(signal).ok();
        })
    }

    fn listen(mut heed: impl FnMut(i32) + Send + 'static) -> io::Result<Self> {
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let handle = signals.handle();
        let listener = thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in &mut signals {
                heed(signal);
            }
        })?;
        Ok(Self { handle, listener: Some(listener) })
    }
}

fn obey(stop: &Stop, signal: i32) {
    if stop.is_aborting() {
        // What is left to do (closing the database) is stuck. The handlers for signals that end a process cannot fail.
        signal_hook::low_level::emulate_default_handler(signal).ok();
    } else if stop.is_stopping() {
        tracing::warn!(signal, "stopping at once, frames in flight are given up");
        stop.abort();
    } else {
        tracing::info!(signal, "capturing stops, frames in flight are reported");
        stop.drain();
    }
}

/// Says what becomes of the work that is done. A file without content holds none.
fn last_words(kept: &[PathBuf]) -> String {
    let holds_work = |path: &&PathBuf| fs::metadata(path).is_ok_and(|data| data.len() > 0);
    match kept.iter().find(holds_work) {
        Some(path) => format!("loupe: interrupted; the same command goes on from {}", path.display()),
        None => "loupe: interrupted; the same command begins anew".to_owned(),
    }
}

impl Drop for SignalWatch {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(listener) = self.listener.take() {
            // A panic of the listener was printed when it happened; there is nothing to clean up after it.
            listener.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_name_the_first_file_that_holds_work() {
        let folder = tempfile::tempdir().unwrap();
        let kept = ["missing", "empty", "work", "older"].map(|name| folder.path().join(name));
        for (path, content) in kept[1..].iter().zip(["", "a", "b"]) {
            fs::write(path, content).unwrap();
        }
        assert!(last_words(&kept).ends_with(&format!("the same command goes on from {}", kept[2].display())));
        assert_eq!(last_words(&kept[..2]), "loupe: interrupted; the same command begins anew");
    }

    #[test]
    fn the_first_signal_drains_and_the_second_aborts() {
        let stop = Stop::default();
        obey(&stop, SIGINT);
        assert!(stop.is_stopping() && !stop.is_aborting());
        obey(&stop, SIGTERM);
        assert!(stop.is_aborting());
    }
}
