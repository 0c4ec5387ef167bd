//! SIGINT and SIGTERM: the first asks a run to drain, the second to stop at once, the third ends the process.

use std::{io, thread, thread::JoinHandle};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
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
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let handle = signals.handle();
        let listener = thread::Builder::new().name("signals".to_owned()).spawn(move || {
            for signal in &mut signals {
                obey(&stop, signal);
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
    fn the_first_signal_drains_and_the_second_aborts() {
        let stop = Stop::default();
        obey(&stop, SIGINT);
        assert!(stop.is_stopping() && !stop.is_aborting());
        obey(&stop, SIGTERM);
        assert!(stop.is_aborting());
    }
}
