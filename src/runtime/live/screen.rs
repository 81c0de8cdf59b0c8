//! Where what all processes tell of the tables comes together to be shown, in the first of them.

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use dataflows::model::time::Epoch;

use crate::serve::store::Store;
use crate::serve::update::Update;
use crate::telemetry::Telemetry;

/// Updates that wait to be shown; behind that the run waits, too.
const WAITING: usize = 8;

type Shown = (Vec<Update>, Option<i64>);

/// The screen of a run.
pub struct Screen {
    gathered: Mutex<BTreeMap<Epoch, Vec<Update>>>,
    processes: usize,
    telemetry: Arc<Telemetry>,
    sender: SyncSender<Shown>,
}

impl Screen {
    /// Shows, in a thread of its own, what so many processes tell.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(store: Arc<Store>, processes: usize, telemetry: Arc<Telemetry>) -> std::io::Result<Self> {
        let (sender, updates) = sync_channel::<Shown>(WAITING);
        // It ends when the screen is dropped.
        std::thread::Builder::new().name("screen".to_owned()).spawn(move || {
            updates.into_iter().for_each(|(updates, watermark)| store.apply(&updates, watermark));
        })?;
        Ok(Self { gathered: Mutex::default(), processes, telemetry, sender })
    }

    /// A process has told this: once all have told of an epoch, it is shown.
    pub fn gather(&self, update: Update) {
        let epoch = update.epoch;
        let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
        let told = gathered.entry(epoch).or_default();
        told.push(update);
        if told.len() == self.processes {
            let told = gathered.remove(&epoch).unwrap_or_default();
            // Without the thread nothing is shown any more, but all else goes on.
            let _ = self.sender.send((told, self.telemetry.watermark()));
        }
    }
}
