//! The first worker of each process speaks for it: tells the first process what has happened here,
//! and does what that orders. The first worker of all also decides what is ordered.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use dataflows::model::time::Epoch;
use timely::worker::Worker;

use super::coordinator::Coordinator;
use super::opening::{self, Head};
use super::wire::{Letter, Order, Report};
use super::{LiveError, Process, Shared};
use crate::archive::Archiver;
use crate::runtime::post::Post;
use crate::serve::update::Update;
use crate::sinks::clickhouse::Health;
use crate::telemetry::SinkState;

/// How long a process that has failed waits for the others to know.
const FAREWELL: Duration = Duration::from_secs(5);
/// How often it is looked whether a thread has failed.
const LOOK: Duration = Duration::from_millis(20);
/// How often a process tells how it is.
const TELL: Duration = Duration::from_secs(1);
const PARK: Duration = Duration::from_millis(10);

fn show(shared: &Shared, update: Update) {
    if let Some(screen) = &shared.screen {
        screen.gather(update);
    }
}

fn sink(health: &Health, epoch: Epoch) -> SinkState {
    let message = match health {
        Health::Fine => String::new(),
        Health::Retrying { reason, failed, .. } => format!("{failed} attempts failed: {reason}"),
        Health::Failed { reason } => reason.clone(),
    };
    SinkState::new("clickhouse", message, epoch)
}

/// A process's clerk.
pub struct Clerk {
    post: Post<Letter>,
    workers: usize,
    coordinator: Option<Coordinator>,
    unread: VecDeque<Letter>,
    handed: Epoch,
    inserted: Epoch,
    anchored: Epoch,
    told_to_stop: bool,
    draining: bool,
    looked: Instant,
    /// When this process told last how it is, and the number of the last reject it told of.
    told: (Instant, u64),
}

impl Clerk {
    /// The clerk of a process with so many workers.
    pub fn new(post: Post<Letter>, workers: usize) -> Self {
        Self {
            post,
            workers,
            coordinator: None,
            unread: VecDeque::new(),
            handed: 0,
            inserted: 0,
            anchored: 0,
            told_to_stop: false,
            draining: false,
            looked: Instant::now(),
            told: (Instant::now(), 0),
        }
    }

    /// Opens the run, as the first process, or waits until the first has. Nothing if it is over first.
    ///
    /// # Errors
    /// This process can't start.
    pub fn open(
        &mut self,
        worker: &mut Worker,
        process: &Process,
        head: Option<Head>,
    ) -> Result<Option<Shared>, LiveError> {
        let opened = match head {
            Some(head) => {
                let (opening, shared, coordinator) = opening::open(process, head)?;
                self.coordinator = Some(coordinator);
                self.send_to_others(&Order::Open(Box::new(opening)));
                Some(shared)
            }
            None => self.await_opening(worker, process)?,
        };
        if let Some(shared) = &opened {
            (self.handed, self.inserted) = (shared.opening.published, shared.opening.published);
        }
        Ok(opened)
    }

    fn await_opening(&mut self, worker: &mut Worker, process: &Process) -> Result<Option<Shared>, LiveError> {
        while !process.is_over() {
            worker.step_or_park(Some(PARK));
            self.unread.extend(self.post.receive());
            match self.unread.pop_front() {
                Some(Letter::Order(Order::Open(opening))) => {
                    return opening::join(process, *opening).map(Some);
                }
                Some(Letter::Order(Order::End(reason))) => process.end(reason),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Reports, reads what has come, and does it. All tables are complete up to `complete`.
    ///
    /// # Errors
    /// Something failed, here or elsewhere.
    pub fn attend(&mut self, process: &Process, shared: &Shared, complete: Epoch) -> Result<(), LiveError> {
        for report in self.reports(process, shared)? {
            self.report(report, shared)?;
        }
        for update in shared.hub.updates() {
            let from = self.post.process();
            match from {
                0 => show(shared, update),
                _ => {
                    let report = Report::Changed(Box::new(update));
                    self.post.send(0, Letter::Report { from, report });
                }
            }
        }
        self.unread.extend(self.post.receive());
        while let Some(letter) = self.unread.pop_front() {
            match letter {
                Letter::Order(order) => self.carry_out(order, process, shared),
                Letter::Report { report: Report::Changed(update), .. } => show(shared, *update),
                Letter::Report { from, report } => {
                    if let Some(coordinator) = &mut self.coordinator {
                        coordinator.hear(from, report, &shared.checkpointer)?;
                    }
                }
            }
        }
        let orders = match &mut self.coordinator {
            Some(coordinator) => coordinator.go_on(complete, &shared.checkpointer)?,
            None => Vec::new(),
        };
        for order in orders {
            if !(self.draining && matches!(order, Order::Drain)) {
                self.send_to_others(&order);
            }
            // The keeper's errands are for the other processes; it has seen to its own.
            if !matches!(order, Order::Errand(_)) {
                self.carry_out(order, process, shared);
            }
        }
        Ok(())
    }

    /// What has happened since the last time.
    fn reports(&mut self, process: &Process, shared: &Shared) -> Result<Vec<Report>, LiveError> {
        let mut reports: Vec<Report> = shared.binder.closed().map(Report::Closed).into_iter().collect();
        let handed = shared.hub.handed();
        if handed > self.handed {
            self.handed = handed;
            reports.push(Report::Handed(handed));
        }
        let inserted = shared.hub.publisher().published().unwrap_or_default();
        if inserted > self.inserted {
            self.inserted = inserted;
            process.telemetry.published(inserted);
            reports.push(Report::Inserted(inserted));
        }
        // Asked after, as the archive has heard of everything that is inserted, but maybe not of more.
        let anchored = shared.archiver.as_ref().map_or(Epoch::MAX, Archiver::anchored).min(self.inserted);
        if anchored > self.anchored {
            self.anchored = anchored;
            reports.push(Report::Anchored(anchored));
        }
        if self.coordinator.is_none() {
            reports.extend(shared.checkpointer.errands().into_iter().map(Report::Errand));
        }
        if process.is_asked_to_stop() && !self.told_to_stop {
            self.told_to_stop = true;
            reports.push(Report::Stop);
        }
        reports.extend(self.board(process));
        if self.looked.elapsed() >= LOOK {
            self.looked = Instant::now();
            shared
                .checkpointer
                .written()
                .into_iter()
                .for_each(|written| process.telemetry.checkpoint(written));
            let health = shared.hub.publisher().health();
            process.telemetry.sink(sink(&health, self.inserted));
            if let Health::Failed { reason } = health {
                return Err(LiveError::Publishing { reason });
            }
            if let Some(error) = shared.archiver.as_ref().and_then(Archiver::failure) {
                return Err(error.into());
            }
            if let Some(error) = shared.checkpointer.failure() {
                return Err(error.into());
            }
        }
        Ok(reports)
    }

    /// How this process is, if that is shown by the first one.
    fn board(&mut self, process: &Process) -> Option<Report> {
        let (told, number) = self.told;
        let is_shown = process.config.serve.listen.is_some() && self.coordinator.is_none();
        if !is_shown || told.elapsed() < TELL {
            return None;
        }
        let (rejected, last) = process.telemetry.rejected_since(number);
        self.told = (Instant::now(), last);
        Some(Report::Board { shown: Box::new(process.telemetry.board()), rejected })
    }

    fn report(&mut self, report: Report, shared: &Shared) -> Result<(), LiveError> {
        let from = self.post.process();
        match &mut self.coordinator {
            Some(coordinator) => coordinator.hear(from, report, &shared.checkpointer)?,
            None => self.post.send(0, Letter::Report { from, report }),
        }
        Ok(())
    }

    fn send_to_others(&mut self, order: &Order) {
        let this = self.post.process();
        for process in (0..self.post.processes()).filter(|process| *process != this) {
            self.post.send(process * self.workers, Letter::Order(order.clone()));
        }
    }

    fn carry_out(&mut self, order: Order, process: &Process, shared: &Shared) {
        match order {
            // It was opened before.
            Order::Open(_) => {}
            Order::Tick(opened) => shared.binder.go_on_to(opened),
            Order::Emit(wanted) => shared.hub.want(wanted),
            Order::Published(epoch) => shared.archiver.iter().for_each(|archiver| archiver.published(epoch)),
            Order::Errand(errand) => shared.checkpointer.bring(errand),
            Order::Drain => {
                self.draining = true;
                process.drain();
            }
            Order::End(reason) => process.end(reason),
        }
    }

    /// Sees to it that the other processes end, too, if this one has failed.
    pub fn farewell(&mut self, worker: &mut Worker, process: &Process) {
        if let Some(reason) = process.failure() {
            let from = self.post.process();
            match from {
                0 => self.send_to_others(&Order::End(Some(reason))),
                _ => self.post.send(0, Letter::Report { from, report: Report::Failed(reason) }),
            }
        }
        // What was sent leaves with a step. Who has failed waits for the answer, so that what it has
        // said arrives before its connections close.
        let began = Instant::now();
        let mut answered = self.post.process() == 0 || process.failure().is_none();
        worker.step();
        while !answered && !process.links.is_over() && began.elapsed() < FAREWELL {
            worker.step_or_park(Some(PARK));
            answered =
                self.post.receive().iter().any(|letter| matches!(letter, Letter::Order(Order::End(_))));
        }
        worker.step();
    }
}
