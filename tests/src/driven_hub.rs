//! A hub without a runtime: its future is polled by hand, and only when something woke it, until it
//! is idle. Time and the store do nothing unless told to, so a test decides what happens when.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use parlor_core::decode::decode;
use parlor_core::{
    CloseReason, Entry, Fetch, Limits, Page, Request, ResumeToken, RoomId, StoredLog, Timestamp,
};
pub use parlor_hub::testing::Task;
use parlor_hub::trace::{Record, Texts};
use parlor_hub::{
    Append, Connection, CrashReport, Handle, Happened, Hub, HubConfig, HubError, HubGone,
    MemoryStore, Metrics, Outlet, Store, StoreError, StoreWorker,
};
use prometheus_client::registry::Registry;

use crate::logs::{Logs, epoch};
use crate::metrics::{Samples, samples};
use crate::taped::Tapes;
use crate::virtual_socket::{Received, VirtualSocket};

/// A hub and its surroundings.
#[derive(Debug)]
pub struct DrivenHub {
    run: Task<Result<(), HubError>>,
    handle: Handle,
    worker: Option<StoreWorker>,
    now: Arc<AtomicU64>,
    crashes: Arc<Mutex<Vec<CrashReport>>>,
    tapes: Tapes,
    metrics: Registry,
    connections: u64,
}

/// When every test begins, ms since the Unix epoch.
pub const START: u64 = 1_700_000_000_000;

impl DrivenHub {
    /// A hub with a store in memory.
    #[must_use]
    pub fn in_memory(limits: &Limits) -> Self {
        let mut epochs = 0;
        let store = MemoryStore::new(limits, move || {
            epochs += 1;
            epoch(epochs)
        });
        Self::with_inner_store(limits, store)
    }

    /// A hub that calls `store` itself.
    #[must_use]
    pub fn with_inner_store(limits: &Limits, store: impl Store + 'static) -> Self {
        Self::start(limits, |config| {
            let (hub, handle) = Hub::new(config, store);
            (hub, handle, None)
        })
    }

    /// A hub whose store answers when told to, see [`DrivenHub::answer_one`].
    #[must_use]
    pub fn with_slow_store(limits: &Limits, store: &ScriptedStore) -> Self {
        Self::with_store_thread(limits, store.clone())
    }

    /// The same with any store.
    #[must_use]
    pub fn with_store_thread(limits: &Limits, store: impl Store + 'static) -> Self {
        Self::start(limits, |config| {
            let (hub, handle, worker) = Hub::with_store_thread(config, store);
            (hub, handle, Some(worker))
        })
    }

    fn start(
        limits: &Limits,
        make: impl FnOnce(HubConfig) -> (Hub, Handle, Option<StoreWorker>),
    ) -> Self {
        let recorder = |tapes: &Tapes| -> Box<dyn Record> {
            Box::new(tapes.recorder(Texts::Redacted, limits))
        };
        Self::start_recorded(limits, recorder, make)
    }

    /// With somebody else who records, and a store that answers when told to, or one inside.
    #[must_use]
    pub fn recorded(
        limits: &Limits,
        store: &ScriptedStore,
        inside: bool,
        recorder: impl FnOnce(&Tapes) -> Box<dyn Record>,
    ) -> Self {
        Self::start_recorded(limits, recorder, |config| Self::hub(config, store, inside))
    }

    /// With somebody who is told what happens, and a store as [`DrivenHub::recorded`] has it.
    #[must_use]
    pub fn observed(
        limits: &Limits,
        store: &ScriptedStore,
        inside: bool,
        observer: impl FnMut(Happened) + Send + 'static,
    ) -> Self {
        Self::start(limits, |config| {
            let config = HubConfig {
                observer: Some(Box::new(observer)),
                ..config
            };
            Self::hub(config, store, inside)
        })
    }

    fn hub(
        config: HubConfig,
        store: &ScriptedStore,
        inside: bool,
    ) -> (Hub, Handle, Option<StoreWorker>) {
        if inside {
            let (hub, handle) = Hub::new(config, store.clone());
            return (hub, handle, None);
        }
        let (hub, handle, worker) = Hub::with_store_thread(config, store.clone());
        (hub, handle, Some(worker))
    }

    fn start_recorded(
        limits: &Limits,
        recorder: impl FnOnce(&Tapes) -> Box<dyn Record>,
        make: impl FnOnce(HubConfig) -> (Hub, Handle, Option<StoreWorker>),
    ) -> Self {
        let now = Arc::new(AtomicU64::new(START));
        let crashes = Arc::<Mutex<Vec<CrashReport>>>::default();
        let tapes = Tapes::default();
        let (clock, reports) = (now.clone(), crashes.clone());
        let metrics = Metrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        let (hub, handle, worker) = make(HubConfig {
            limits: limits.clone(),
            clock: Box::new(move || Timestamp(clock.load(Ordering::Relaxed))),
            on_crash: Box::new(move |report| lock(&reports).push(report)),
            recorder: Some(recorder(&tapes)),
            observer: None,
            metrics,
        });
        Self {
            run: Task::new(hub.run()),
            handle,
            worker,
            now,
            crashes,
            tapes,
            metrics: registry,
            connections: 0,
        }
    }

    /// Lets the hub do what it can do without time or its store; how it ended, if it did.
    pub fn settle(&mut self) -> Option<Result<(), HubError>> {
        self.run.run().copied()
    }

    /// Lets the store answer one question or, if none waits, do a part of its maintenance; false
    /// if there is nothing to do.
    pub fn answer_one(&mut self) -> bool {
        let answered = self.step_store();
        self.settle();
        answered
    }

    /// The same, of which the hub has not heard yet.
    pub fn step_store(&mut self) -> bool {
        self.worker.as_mut().is_some_and(StoreWorker::step)
    }

    /// Lets the store answer until nothing waits.
    pub fn answer_all(&mut self) {
        self.settle();
        while self.answer_one() {}
    }

    /// Time goes by, with a tick after every second and at its end.
    pub fn wait(&mut self, ms: u64) -> Option<Result<(), HubError>> {
        let mut left_ms = ms;
        loop {
            let step_ms = left_ms.min(1000);
            left_ms -= step_ms;
            self.jump(step_ms);
            let ended = self.settle();
            if ended.is_some() || left_ms == 0 {
                return ended;
            }
        }
    }

    /// The clock jumps ahead, and a tick tells of it.
    pub fn jump(&mut self, ms: u64) {
        self.now.fetch_add(ms, Ordering::Relaxed);
        self.handle.tick();
    }

    /// The clock shows `now`, of which nobody is told.
    pub fn set_time(&mut self, now: Timestamp) {
        self.now.store(now.0, Ordering::Relaxed);
    }

    /// A way to reach the hub.
    #[must_use]
    pub const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The reports of its panics so far.
    #[must_use]
    pub fn take_crashes(&self) -> Vec<CrashReport> {
        std::mem::take(&mut lock(&self.crashes))
    }

    /// What was recorded so far.
    #[must_use]
    pub fn trace(&self) -> Vec<u8> {
        self.tapes.bytes()
    }

    /// Its metrics, as they are read from outside.
    ///
    /// # Panics
    /// When they cannot be read.
    #[must_use]
    pub fn metrics(&self) -> Samples {
        let mut text = String::new();
        let written = prometheus_client::encoding::text::encode(&mut text, &self.metrics);
        written.expect("writing to memory does not fail");
        samples(&text)
    }

    /// Bytes that wait for all connections.
    ///
    /// # Panics
    /// Never: it is one of the metrics.
    #[must_use]
    pub fn outbox_bytes(&self) -> u64 {
        let bytes = self.metrics()["parlor_outbox_bytes"];
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        let bytes = bytes as u64;
        bytes
    }

    /// Asks for the goodbye.
    pub fn shutdown(&mut self) -> Option<Result<(), HubError>> {
        self.ask_to_stop();
        self.settle()
    }

    /// The same, of which the hub has not heard yet.
    pub fn ask_to_stop(&self) {
        let handle = self.handle.clone();
        Task::new(async move { handle.shutdown().await }).run();
    }

    /// Drops every way to reach the hub; how it ended.
    ///
    /// # Errors
    /// When it ended with an error.
    ///
    /// # Panics
    /// When it goes on.
    pub fn abandon(self) -> Result<(), HubError> {
        let Self {
            mut run, handle, ..
        } = self;
        run.run();
        drop(handle);
        *run.run().expect("it ends")
    }

    /// A new connection that the hub has not looked at yet.
    pub fn open(&mut self) -> Client {
        let (socket, outlet) = VirtualSocket::pair();
        self.open_with(socket, outlet)
    }

    /// The same through an outlet of one's own, whose bytes somehow come to `socket`.
    ///
    /// # Panics
    /// When the hub is gone, or has no room for it.
    pub fn open_with(&mut self, socket: VirtualSocket, outlet: impl Outlet + 'static) -> Client {
        self.connections += 1;
        let token = ResumeToken::from_random(self.connections.into());
        self.open_as(token, socket, outlet)
    }

    /// The same, with the resume token that it is to have.
    ///
    /// # Panics
    /// When the hub is gone, or has no room for it.
    pub fn open_as(
        &mut self,
        token: ResumeToken,
        socket: VirtualSocket,
        outlet: impl Outlet + 'static,
    ) -> Client {
        let handle = self.handle.clone();
        let mut connect = Task::new(async move { handle.connect(token, outlet).await });
        connect.run();
        let connection = connect.into_output().expect("the inbox has room");
        Client {
            socket,
            connection: Some(Arc::new(connection.expect("the hub is there"))),
            pending: None,
        }
    }

    /// A new connection.
    pub fn connect(&mut self) -> Client {
        let client = self.open();
        self.settle();
        client
    }

    /// A new connection in `room`, under `name`, that read everything so far.
    ///
    /// # Panics
    /// When it is not let in.
    pub fn join(&mut self, name: &str, room: &str) -> Client {
        let mut client = self.connect();
        client.join(name, room);
        self.answer_all();
        assert!(!client.is_held(), "{name} is answered");
        let answer = client.read();
        assert!(
            answer.iter().any(|message| message.starts_with("joined")),
            "{name} is let in: {answer:?}"
        );
        client
    }
}

/// A connection as its task sees it, and the peer behind it.
#[derive(Debug)]
pub struct Client {
    /// Where the hub writes to.
    pub socket: VirtualSocket,
    connection: Option<Arc<Connection>>,
    pending: Option<Task<Result<(), HubGone>>>,
}

impl Client {
    /// Hands over a request in JSON.
    ///
    /// # Panics
    /// When an earlier one is not over, or it is no good request.
    pub fn send(&mut self, json: &str) {
        let request = request(json);
        self.perform(async move |connection| connection.receive(request).await);
    }

    /// Does something with the connection that may take time.
    ///
    /// # Panics
    /// When something else still does.
    pub fn perform<F>(&mut self, action: impl FnOnce(Arc<Connection>) -> F)
    where
        F: Future<Output = Result<(), HubGone>> + Send + 'static,
    {
        assert!(!self.is_held(), "one after the other");
        let connection = self.connection().clone();
        let mut task = Task::new(action(connection));
        task.run();
        self.pending = Some(task);
    }

    /// Hands over a `join`.
    pub fn join(&mut self, name: &str, room: &str) {
        self.send(&format!(
            r#"{{"type":"join","roomId":"{room}","username":"{name}"}}"#
        ));
    }

    /// Hands over a `message`.
    pub fn say(&mut self, room: &str, text: &str) {
        self.send(&format!(
            r#"{{"type":"message","roomId":"{room}","text":"{text}"}}"#
        ));
    }

    /// The connection, for what is not said here.
    ///
    /// # Panics
    /// When it was ended or dropped.
    #[must_use]
    pub const fn connection(&self) -> &Arc<Connection> {
        self.connection.as_ref().expect("it was not ended")
    }

    /// Whether it may not hand over its next request yet.
    pub fn is_held(&mut self) -> bool {
        self.outcome().is_none() && self.pending.is_some()
    }

    /// What came of the last request that was handed over; none as long as it is held back.
    pub fn outcome(&mut self) -> Option<Result<(), HubGone>> {
        self.pending.as_mut().and_then(|task| task.run().copied())
    }

    /// Whether its task is still there.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.connection.is_some()
    }

    /// Its task ends it.
    ///
    /// # Panics
    /// When there is no room for it in the inbox.
    pub fn end(&mut self, reason: Option<CloseReason>) {
        self.pending = None;
        let connection = self.connection.take().expect("it was not ended");
        let mut connection = Arc::into_inner(connection).expect("nothing else uses it");
        let mut end = Task::new(async move { connection.end(reason).await });
        assert!(end.run().is_some(), "the inbox has room");
    }

    /// Its task is cancelled.
    pub fn cancel(&mut self) {
        self.pending = None;
        self.connection = None;
    }

    /// What came since the last time, each frame in short: see [`short`].
    #[must_use]
    pub fn read(&self) -> Vec<String> {
        self.socket.read().iter().map(short).collect()
    }
}

/// A request from JSON.
///
/// # Panics
/// When it is no good request.
#[must_use]
pub fn request(json: &str) -> Request {
    match decode(json) {
        Ok(decoded) => decoded.request,
        Err(refusal) => panic!("{json} is refused: {refusal:?}"),
    }
}

/// A frame in a few words: its type, the room, and what matters of the rest, but for
/// long texts.
#[must_use]
pub fn short(frame: &Received) -> String {
    let message = match frame {
        Received::Message(message) => message,
        Received::Control(opcode) => return format!("control {opcode:x}"),
        Received::Close(code) => return format!("close {code}"),
    };
    let words = [
        "type", "roomId", "username", "reason", "seq", "text", "code", "count",
    ];
    let words = words.iter().filter_map(|&field| {
        let value = message.get(field)?;
        Some(match value.as_str() {
            Some(text) if text.len() > 100 => format!("{}…", text.len()),
            Some(text) => text.to_string(),
            None => value.to_string(),
        })
    });
    words.collect::<Vec<String>>().join(" ")
}

/// A store that keeps everything, fails when told to, and remembers what it was asked. Its clones
/// are the same.
#[derive(Clone, Debug, Default)]
pub struct ScriptedStore(Arc<Mutex<Scripted>>);

/// What a [`ScriptedStore`] has and does.
#[derive(Debug, Default)]
pub struct Scripted {
    logs: Logs,
    /// What failed appends kept all the same: it shows when the store is reopened.
    pub torn: Vec<Append>,
    /// What it was asked, in short.
    pub calls: Vec<String>,
    /// What becomes of the next appends; none is success.
    pub appends: VecDeque<Outcome>,
    /// What becomes of every load until further notice.
    pub load: Outcome,
    /// What becomes of every page until further notice.
    pub page: Outcome,
    /// What becomes of every reopening until further notice.
    pub reopen: Outcome,
    /// How many parts of maintenance there are to do.
    pub maintenance: u32,
    /// What becomes of each of them until further notice; they cannot fail.
    pub maintain: Outcome,
    /// It refuses everything until it was reopened.
    pub broken: bool,
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It does what it is asked.
    #[default]
    Succeeds,
    /// It fails.
    Fails,
    /// It fails, too, but an append keeps so many of its first entries, as when a disk fails midway
    /// or cannot tell how far it came.
    Tears(usize),
    /// It panics.
    Panics,
}

impl ScriptedStore {
    /// What it has and does.
    ///
    /// # Panics
    /// Never: nothing panics while it is locked.
    pub fn script(&self) -> MutexGuard<'_, Scripted> {
        lock(&self.0)
    }

    /// What it was asked since the last time.
    #[must_use]
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut self.script().calls)
    }

    /// The text of an entry, if it is stored.
    #[must_use]
    pub fn text(&self, room: &str, epoch: &str, seq: u64) -> Option<String> {
        let entry = self.entry(room, epoch, seq)?;
        Some(entry.text.as_str().to_string())
    }

    /// An entry, if it is stored.
    #[must_use]
    pub fn entry(&self, room: &str, epoch: &str, seq: u64) -> Option<Arc<Entry>> {
        let script = self.script();
        let (own, entries) = script.logs.get(room)?;
        let entry = entries.get(usize::try_from(seq).ok()?.checked_sub(1)?)?;
        (own.as_str() == epoch).then(|| entry.clone())
    }

    /// Everything that is stored of a room.
    #[must_use]
    pub fn entries(&self, room: &str) -> Vec<Arc<Entry>> {
        let script = self.script();
        let log = script.logs.get(room);
        log.map_or_else(Vec::new, |(_, entries)| entries.clone())
    }

    fn begin(
        &self,
        call: String,
        outcome: impl FnOnce(&mut Scripted) -> Outcome,
    ) -> Result<(), StoreError> {
        let outcome = {
            let mut script = self.script();
            script.calls.push(call);
            if script.broken {
                Outcome::Fails
            } else {
                outcome(&mut script)
            }
        };
        match outcome {
            Outcome::Succeeds => Ok(()),
            Outcome::Fails | Outcome::Tears(_) => Err(StoreError::new("planned")),
            Outcome::Panics => panic!("planned: the store panics"),
        }
    }
}

impl Scripted {
    fn keep(&mut self, batch: &[Append]) {
        self.logs.append(batch).expect("I-6");
    }
}

impl Store for ScriptedStore {
    fn load(&mut self, room: &RoomId, tail_entries: u32) -> Result<StoredLog, StoreError> {
        self.begin(format!("load {room}"), |script| script.load)?;
        self.script().logs.load(room, tail_entries)
    }

    fn append(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        let names = batch
            .iter()
            .map(|append| format!(" {}:{}", append.room, append.entry.seq.0));
        let call = format!("append{}", names.collect::<String>());
        let mut torn = 0;
        let begun = self.begin(call, |script| {
            let outcome = script.appends.pop_front().unwrap_or_default();
            if let Outcome::Tears(kept) = outcome {
                torn = kept.min(batch.len());
            }
            outcome
        });
        let mut script = self.script();
        if begun.is_ok() {
            script.keep(batch);
            return Ok(());
        }
        script.broken = true;
        if torn > 0 {
            let kept = format!("kept {torn} of {}", batch.len());
            script.calls.push(kept);
            script.torn.extend_from_slice(&batch[..torn]);
        }
        begun
    }

    fn page(&mut self, fetch: &Fetch) -> Result<Page, StoreError> {
        self.begin(format!("page {}", fetch.room), |script| script.page)?;
        Ok(self.script().logs.page(fetch))
    }

    fn release(&mut self, room: &RoomId, _: Timestamp) {
        self.script().calls.push(format!("release {room}"));
    }

    fn reopen(&mut self, _: Timestamp) -> Result<(), StoreError> {
        let outcome = {
            let mut script = self.script();
            script.broken = false;
            script.reopen
        };
        let reopened = self.begin("reopen".into(), |_| outcome);
        let mut script = self.script();
        script.broken = reopened.is_err();
        if reopened.is_ok() {
            let torn = std::mem::take(&mut script.torn);
            script.keep(&torn);
        }
        reopened
    }

    fn maintain(&mut self, _: Timestamp) -> bool {
        if self.script().maintenance == 0 {
            return false;
        }
        self.script().maintenance -= 1;
        let begun = self.begin("maintain".into(), |script| script.maintain);
        begun.is_ok() && self.script().maintenance > 0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it is locked")
}
