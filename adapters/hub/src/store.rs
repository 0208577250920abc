//! The boundary to what outlives a room: the [`Store`] trait, and the two ways to run one.
//!
//! A store that answers at once (memory) runs inside the hub. One that waits for a disk runs on a
//! thread of its own: the hub asks through a channel and goes on, and the answers come back on
//! another, so that neither ever waits for the other.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_channel::{Receiver, RecvError, Sender, TryRecvError};
use parlor_core::types::LoadId;
use parlor_core::{Effect, Entry, Epoch, Fetch, Page, RoomId, StoredLog, Timestamp};

use crate::inbox::Internal;

/// Keeps the logs of rooms. If a call panics the hub begins anew and reopens it before anything else.
pub trait Store: Send {
    /// The log of `room`: its counters and as much of its tail as the store likes to give, at most
    /// `tail_entries`. A room that has none gets an epoch in which it never had an entry;
    /// it is kept with the first one.
    ///
    /// # Errors
    /// When it cannot be read; the joins that wait for it are refused.
    fn load(&mut self, room: &RoomId, tail_entries: u32) -> Result<StoredLog, StoreError>;

    /// Adds a batch, all of it or nothing. It is durable when the call returns.
    ///
    /// # Errors
    /// When it could not be stored. From then on the store refuses everything until it was
    /// reopened.
    fn append(&mut self, batch: &[Append]) -> Result<(), StoreError>;

    /// A page of a room's log.
    ///
    /// # Errors
    /// When it cannot be read.
    fn page(&mut self, fetch: &Fetch) -> Result<Page, StoreError>;

    /// Nobody is in `room` any more since `at`. It may be loaded again.
    fn release(&mut self, room: &RoomId, at: Timestamp);

    /// Begins anew, at `at`, after a failure of the store or of the hub: no room is in use.
    ///
    /// # Errors
    /// When it still cannot work; the hub tries again later.
    fn reopen(&mut self, at: Timestamp) -> Result<(), StoreError>;

    /// Does a small part of what is to be done some time, such as deleting what is old, at `at`;
    /// true if there is more. A question that comes meanwhile waits for it, so it takes
    /// milliseconds. The hub has this done about once a second, and a store on a thread of its own
    /// goes on as long as nobody asks for anything else.
    fn maintain(&mut self, at: Timestamp) -> bool {
        let _ = at;
        false
    }
}

impl<S: Store + ?Sized> Store for Box<S> {
    fn load(&mut self, room: &RoomId, tail_entries: u32) -> Result<StoredLog, StoreError> {
        (**self).load(room, tail_entries)
    }

    fn append(&mut self, batch: &[Append]) -> Result<(), StoreError> {
        (**self).append(batch)
    }

    fn page(&mut self, fetch: &Fetch) -> Result<Page, StoreError> {
        (**self).page(fetch)
    }

    fn release(&mut self, room: &RoomId, at: Timestamp) {
        (**self).release(room, at);
    }

    fn reopen(&mut self, at: Timestamp) -> Result<(), StoreError> {
        (**self).reopen(at)
    }

    fn maintain(&mut self, at: Timestamp) -> bool {
        (**self).maintain(at)
    }
}

/// One entry to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// In which room's log.
    pub room: RoomId,
    /// In which life of it.
    pub epoch: Epoch,
    /// What.
    pub entry: Arc<Entry>,
}

impl Append {
    /// The append that an effect asks for, if it asks for one.
    pub(crate) fn of(effect: &Effect) -> Option<Self> {
        match effect {
            Effect::Append { room, epoch, entry } => Some(Self {
                room: room.clone(),
                epoch: epoch.clone(),
                entry: entry.clone(),
            }),
            Effect::Send { .. }
            | Effect::Answer { .. }
            | Effect::Tell(_)
            | Effect::Close { .. }
            | Effect::LoadRoom { .. }
            | Effect::FetchPage(_)
            | Effect::ReleaseRoom { .. } => None,
        }
    }
}

/// A store could not do what it was asked.
#[derive(Debug)]
pub struct StoreError(Box<dyn Error + Send + Sync>);

impl StoreError {
    /// With its cause: an error, or a sentence.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store failed: {}", self.0)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// What the hub asks of a store.
#[derive(Debug)]
pub(crate) enum Question {
    Load {
        room: RoomId,
        load: LoadId,
        tail_entries: u32,
    },
    Append(Vec<Append>),
    Page(Fetch),
    Release {
        room: RoomId,
        at: Timestamp,
    },
    Reopen {
        at: Timestamp,
    },
    Maintain {
        at: Timestamp,
    },
}

/// What a store answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Loaded {
        room: RoomId,
        load: LoadId,
        log: Result<StoredLog, StoreError>,
    },
    Appended(Result<(), StoreError>),
    Page {
        fetch: Fetch,
        page: Result<Page, StoreError>,
    },
    Reopened(Result<(), StoreError>),
}

fn answer(store: &mut dyn Store, question: Question) -> Option<Answer> {
    match question {
        Question::Load {
            room,
            load,
            tail_entries,
        } => {
            let log = store.load(&room, tail_entries);
            Some(Answer::Loaded { room, load, log })
        }
        Question::Append(batch) => Some(Answer::Appended(store.append(&batch))),
        Question::Page(fetch) => {
            let page = store.page(&fetch);
            Some(Answer::Page { fetch, page })
        }
        Question::Release { room, at } => {
            store.release(&room, at);
            None
        }
        Question::Reopen { at } => Some(Answer::Reopened(store.reopen(at))),
        Question::Maintain { at } => {
            store.maintain(at);
            None
        }
    }
}

/// A store as the hub sees it.
pub(crate) enum StoreLink {
    /// It answers at once and is called by the hub itself.
    Inside(Box<dyn Store>),
    /// It is asked through a channel and answers through the hub's.
    Thread {
        questions: Sender<(u64, Question)>,
        /// There is a [`Question::Maintain`] among them. One is enough, however late the store is.
        maintain: Arc<AtomicBool>,
    },
}

/// A store that waits for its hub's questions: run it on a thread of its own.
pub struct StoreWorker {
    store: Box<dyn Store>,
    questions: Receiver<(u64, Question)>,
    answers: Sender<Internal>,
    /// As the hub's.
    maintain: Arc<AtomicBool>,
    /// What is to be done when nobody asks for anything else, as of when.
    maintaining: Option<Timestamp>,
}

impl StoreLink {
    pub(crate) fn inside(store: impl Store + 'static) -> Self {
        Self::Inside(Box::new(store))
    }

    pub(crate) fn threaded(
        store: impl Store + 'static,
        answers: Sender<Internal>,
    ) -> (Self, StoreWorker) {
        // At most one append, one load for each room and one page for each connection are ever
        // asked at once, so this needs no bound of its own.
        let (ask, questions) = async_channel::unbounded();
        let maintain = Arc::<AtomicBool>::default();
        let worker = StoreWorker {
            store: Box::new(store),
            questions,
            answers,
            maintain: maintain.clone(),
            maintaining: None,
        };
        let link = Self::Thread {
            questions: ask,
            maintain,
        };
        (link, worker)
    }

    /// Asks; the answer of a store inside comes back at once, any other one later, with the same
    /// `generation`.
    pub(crate) fn ask(&mut self, generation: u64, question: Question) -> Option<Answer> {
        match self {
            Self::Inside(store) => answer(&mut **store, question),
            Self::Thread {
                questions,
                maintain,
            } => {
                let is_maintain = matches!(question, Question::Maintain { .. });
                if is_maintain && maintain.swap(true, Ordering::AcqRel) {
                    return None;
                }
                // Fails only when the worker is gone; the time-out of whatever waits for an answer
                // ends the process then.
                let _ = questions.try_send((generation, question));
                None
            }
        }
    }
}

impl StoreWorker {
    /// Answers one question, if one waits, or else does a small part of what is to be done some
    /// time. False when there is nothing to do.
    pub fn step(&mut self) -> bool {
        loop {
            match self.questions.try_recv() {
                Ok((_, Question::Maintain { at })) => self.note(at),
                Ok((generation, question)) => {
                    self.answer(generation, question);
                    return true;
                }
                Err(TryRecvError::Empty) => return self.maintain(),
                // The hub is gone, and waits for this thread to end.
                Err(TryRecvError::Closed) => return false,
            }
        }
    }

    /// Answers until the hub is gone. Blocks the thread.
    pub fn run(mut self) {
        loop {
            while self.step() {}
            match self.questions.recv_blocking() {
                Ok((_, Question::Maintain { at })) => self.note(at),
                Ok((generation, question)) => self.answer(generation, question),
                Err(RecvError) => return,
            }
        }
    }

    fn note(&mut self, at: Timestamp) {
        self.maintain.store(false, Ordering::Release);
        self.maintaining = Some(at);
    }

    fn maintain(&mut self) -> bool {
        let Some(at) = self.maintaining else {
            return false;
        };
        if self.supervised(|store| store.maintain(at)) != Some(true) {
            self.maintaining = None;
        }
        true
    }

    fn answer(&mut self, generation: u64, question: Question) {
        let answered = self.supervised(|store| answer(store, question));
        if let Some(answer) = answered.flatten() {
            self.tell(Internal::Stored { generation, answer });
        }
    }

    /// Calls the store. The hub is told of a panic, and reopens the store before anything else.
    fn supervised<T>(&mut self, call: impl FnOnce(&mut dyn Store) -> T) -> Option<T> {
        let called = catch_unwind(AssertUnwindSafe(|| call(&mut *self.store)));
        let failed = |panic: Box<dyn Any + Send>| self.tell(Internal::StorePanicked(panic));
        called.map_err(failed).ok()
    }

    fn tell(&self, internal: Internal) {
        // The hub may be gone; then nobody waits for the answer.
        let _ = self.answers.try_send(internal);
    }
}

impl fmt::Debug for StoreWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreWorker")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use parlor_core::{ConnId, Limits, Seq};

    use super::*;
    use crate::MemoryStore;

    #[test]
    fn a_store_that_is_late_is_asked_to_maintain_itself_once() {
        let (answers, _answered) = async_channel::unbounded();
        let epoch = || Epoch::new("e").unwrap();
        let store = MemoryStore::new(&Limits::default(), epoch);
        let (mut link, mut worker) = StoreLink::threaded(store, answers);
        for _ in 0..2 {
            for at in 0..100 {
                let at = Timestamp(at);
                link.ask(0, Question::Maintain { at });
            }
            assert_eq!(worker.questions.len(), 1);
            while worker.step() {}
        }
    }

    /// Remembers what it was asked, and fails at all that can fail.
    #[derive(Clone, Default)]
    struct Asked(Arc<Mutex<Vec<&'static str>>>);

    impl Asked {
        fn fails<T>(&self, what: &'static str) -> Result<T, StoreError> {
            self.0.lock().unwrap().push(what);
            Err(StoreError::new(what))
        }

        fn take(&self) -> Vec<&'static str> {
            std::mem::take(&mut self.0.lock().unwrap())
        }
    }

    impl Store for Asked {
        fn load(&mut self, _: &RoomId, _: u32) -> Result<StoredLog, StoreError> {
            self.fails("load")
        }

        fn append(&mut self, _: &[Append]) -> Result<(), StoreError> {
            self.fails("append")
        }

        fn page(&mut self, _: &Fetch) -> Result<Page, StoreError> {
            self.fails("page")
        }

        fn release(&mut self, _: &RoomId, _: Timestamp) {
            let _ = self.fails::<()>("release");
        }

        fn reopen(&mut self, _: Timestamp) -> Result<(), StoreError> {
            self.fails("reopen")
        }

        /// Twice there is more to do.
        fn maintain(&mut self, _: Timestamp) -> bool {
            let _ = self.fails::<()>("maintain");
            self.0.lock().unwrap().len() < 3
        }
    }

    const AT: Timestamp = Timestamp(1);

    fn room() -> RoomId {
        RoomId::new("r").unwrap()
    }

    fn fetch() -> Fetch {
        Fetch {
            conn: ConnId(1),
            room: room(),
            epoch: Epoch::new("e").unwrap(),
            before: Seq(1),
            limit: 1,
            reference: None,
        }
    }

    #[test]
    fn a_store_in_a_box_is_that_store() {
        let asked = Asked::default();
        let mut boxed: Box<dyn Store> = Box::new(asked.clone());
        // Through the implementation for the box, and not for what is in it.
        fn ask(store: &mut impl Store) -> [String; 4] {
            store.release(&room(), AT);
            [
                store.load(&room(), 1).unwrap_err(),
                store.append(&[]).unwrap_err(),
                store.page(&fetch()).unwrap_err(),
                store.reopen(AT).unwrap_err(),
            ]
            .map(|error| error.source().unwrap().to_string())
        }
        assert_eq!(ask(&mut boxed), ["load", "append", "page", "reopen"]);
        let all = ["release", "load", "append", "page", "reopen"];
        assert_eq!(asked.take(), all);
        let is_more = [AT; 3].map(|at| Store::maintain(&mut boxed, at));
        assert_eq!(is_more, [true, true, false]);
    }

    #[test]
    fn a_worker_answers_and_maintains_until_the_hub_is_gone() {
        let (answers, answered) = async_channel::unbounded();
        let asked = Asked::default();
        let (mut link, worker) = StoreLink::threaded(asked.clone(), answers);
        let thread = std::thread::spawn(move || worker.run());
        let (room, load) = (room(), LoadId(1));
        let questions = [
            Question::Load {
                room: room.clone(),
                load,
                tail_entries: 1,
            },
            Question::Append(vec![]),
            Question::Page(fetch()),
            Question::Release { room, at: AT },
            Question::Reopen { at: AT },
        ];
        for (generation, question) in (7..).zip(questions) {
            assert!(link.ask(generation, question).is_none(), "later");
        }
        drop(link);
        thread.join().unwrap();
        let answers = std::iter::from_fn(|| answered.try_recv().ok());
        let generations: Vec<u64> = answers
            .map(|answer| {
                let Internal::Stored { generation, .. } = answer else {
                    panic!("the store did not panic");
                };
                generation
            })
            .collect();
        assert_eq!(generations, [7, 8, 9, 11], "a release has no answer");
        let all = ["load", "append", "page", "release", "reopen"];
        assert_eq!(asked.take(), all);
    }
}
