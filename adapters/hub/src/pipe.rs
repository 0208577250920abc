//! A bounded pipe: the outlet of a connection that is no plain socket, such as TLS. The hub puts
//! bytes in without waiting; the connection's own task takes them out and does with them what its
//! transport needs.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::outlet::Outlet;

/// Both ends of a pipe that holds `most_bytes`, and at least one.
///
/// ```
/// # use std::task::{Context, Waker};
/// # use parlor_hub::{LastWord, Outlet, pipe};
/// let (mut outlet, reader) = pipe(4);
/// let mut cx = Context::from_waker(Waker::noop()); // The hub is the one who writes.
/// assert!(outlet.poll_write(&mut cx, b"frames").is_ready());
/// outlet.finish();
/// futures_lite::future::block_on(async {
///     assert_eq!(reader.read().await.as_deref(), Some(&b"fram"[..]));
///     assert_eq!(reader.read().await, None);
///     assert_eq!(reader.last_word().await, LastWord::Finish);
/// });
/// ```
#[must_use]
pub fn pipe(most_bytes: usize) -> (PipeOutlet, PipeReader) {
    let pipe = Arc::new(Pipe {
        most_bytes: most_bytes.max(1),
        state: Mutex::default(),
    });
    (PipeOutlet(pipe.clone()), PipeReader(pipe))
}

/// How the hub let go of a connection's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastWord {
    /// What was written shall still arrive.
    Finish,
    /// The connection is to end at once.
    Abort,
}

/// The hub's end of a [`pipe`].
pub struct PipeOutlet(Arc<Pipe>);

/// The other end of a [`pipe`], for one task. Dropping it breaks the pipe: the hub learns that the
/// connection is gone when it writes to it the next time.
pub struct PipeReader(Arc<Pipe>);

struct Pipe {
    most_bytes: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    last_word: Option<LastWord>,
    is_broken: bool,
    /// Waits for space.
    writer: Option<Waker>,
    /// Waits for bytes or the last word.
    reader: Option<Waker>,
}

impl Outlet for PipeOutlet {
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = self.0.state();
        if state.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let space = self.0.most_bytes - state.bytes.len();
        if space == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = bytes.len().min(space);
        state.bytes.extend_from_slice(&bytes[..taken]);
        let reader = state.reader.take();
        drop(state);
        wake(reader);
        Poll::Ready(Ok(taken))
    }

    fn finish(&mut self) {
        self.0.end(LastWord::Finish);
    }

    fn abort(&mut self) {
        self.0.end(LastWord::Abort);
    }
}

impl Drop for PipeOutlet {
    fn drop(&mut self) {
        // Without a word, as by a panic of the hub: what a socket took would arrive, too.
        self.0.end(LastWord::Finish);
    }
}

impl PipeReader {
    /// The bytes that wait, all of them, which makes room for as many; none behind the last one, and
    /// none at once when the connection is to end.
    pub async fn read(&self) -> Option<Vec<u8>> {
        poll_fn(|cx| self.poll_read(cx)).await
    }

    /// How the hub let go, once it has; there may still be bytes to read.
    pub async fn last_word(&self) -> LastWord {
        poll_fn(|cx| {
            let mut state = self.0.state();
            state.last_word.map_or_else(
                || {
                    state.reader = Some(cx.waker().clone());
                    Poll::Pending
                },
                Poll::Ready,
            )
        })
        .await
    }

    fn poll_read(&self, cx: &Context<'_>) -> Poll<Option<Vec<u8>>> {
        let mut state = self.0.state();
        if !state.bytes.is_empty() {
            // An idle connection holds no buffer.
            let bytes = mem::take(&mut state.bytes);
            let writer = state.writer.take();
            drop(state);
            wake(writer);
            return Poll::Ready(Some(bytes));
        }
        if state.last_word.is_some() {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_broken = true;
        state.bytes = Vec::new();
        let writer = state.writer.take();
        drop(state);
        wake(writer);
    }
}

impl Pipe {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first last word counts.
    fn end(&self, last_word: LastWord) {
        let mut state = self.state();
        if state.last_word.is_some() {
            return;
        }
        state.last_word = Some(last_word);
        if last_word == LastWord::Abort {
            state.bytes = Vec::new();
        }
        let reader = state.reader.take();
        drop(state);
        wake(reader);
    }
}

/// Outside of the lock: whoever is woken may come at once.
fn wake(waiting: Option<Waker>) {
    if let Some(waker) = waiting {
        waker.wake();
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.state().bytes.len();
        write!(f, "{waiting} of {} bytes", self.most_bytes)
    }
}

impl fmt::Debug for PipeOutlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PipeOutlet({:?})", self.0)
    }
}

impl fmt::Debug for PipeReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PipeReader({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    /// Counts how often it was woken.
    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Woken {
        /// How often since the last time.
        fn times(&self) -> usize {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    /// Asks as the hub does: once without a waker, and once more with it.
    fn write(outlet: &mut PipeOutlet, bytes: &[u8], waker: &Arc<Woken>) -> Poll<Option<usize>> {
        let mut noop = Context::from_waker(Waker::noop());
        let written = outlet.poll_write(&mut noop, bytes).map(Result::ok);
        if written.is_ready() {
            return written;
        }
        let waker = waker.clone().into();
        let mut cx = Context::from_waker(&waker);
        outlet.poll_write(&mut cx, bytes).map(Result::ok)
    }

    fn poll<T>(future: impl Future<Output = T>, waker: &Arc<Woken>) -> Poll<T> {
        let waker = waker.clone().into();
        pin!(future).poll(&mut Context::from_waker(&waker))
    }

    fn read(reader: &PipeReader, waker: &Arc<Woken>) -> Poll<Option<String>> {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        poll(reader.read(), waker).map(|bytes| bytes.map(text))
    }

    fn some(text: &str) -> Poll<Option<String>> {
        Poll::Ready(Some(text.into()))
    }

    #[test]
    fn what_was_written_comes_in_order_and_in_one_piece() {
        let ((mut outlet, reader), hub) = (pipe(100), Arc::default());
        for word in ["one ", "two ", "three"] {
            let written = write(&mut outlet, word.as_bytes(), &hub);
            assert_eq!(written, Poll::Ready(Some(word.len())));
        }
        assert_eq!(read(&reader, &hub), some("one two three"));
        assert_eq!(read(&reader, &hub), Poll::Pending);
    }

    #[test]
    fn it_takes_what_fits_and_wakes_the_writer_once_there_is_space() {
        let ((mut outlet, reader), hub, task) = (pipe(4), Arc::default(), Arc::default());
        assert_eq!(write(&mut outlet, b"abc", &hub), Poll::Ready(Some(3)));
        assert_eq!(write(&mut outlet, b"def", &hub), Poll::Ready(Some(1)));
        assert_eq!(hub.times(), 0, "it did not wait");
        assert_eq!(write(&mut outlet, b"ef", &hub), Poll::Pending);
        assert_eq!(hub.times(), 0, "there is no space");
        assert_eq!(read(&reader, &task), some("abcd"));
        assert_eq!(hub.times(), 1);
        assert_eq!(write(&mut outlet, b"ef", &hub), Poll::Ready(Some(2)));
        assert_eq!(read(&reader, &task), some("ef"));
        assert_eq!(hub.times(), 0, "it did not wait");
    }

    #[test]
    fn the_reader_is_woken_by_bytes_and_by_the_last_word() {
        let ((mut outlet, reader), hub, task) = (pipe(4), Arc::default(), Arc::default());
        assert_eq!(read(&reader, &task), Poll::Pending);
        assert_eq!(task.times(), 0);
        let _ = write(&mut outlet, b"ab", &hub);
        assert_eq!(task.times(), 1);
        let _ = write(&mut outlet, b"cd", &hub);
        assert_eq!(task.times(), 0, "it knows already");
        assert_eq!(read(&reader, &task), some("abcd"));
        assert_eq!(poll(reader.last_word(), &task), Poll::Pending);
        outlet.finish();
        assert_eq!(task.times(), 1);
        outlet.abort();
        assert_eq!(task.times(), 0, "the first word counts");
        assert_eq!(
            poll(reader.last_word(), &task),
            Poll::Ready(LastWord::Finish)
        );
    }

    #[test]
    fn what_was_written_before_the_end_is_read() {
        let finish: fn(PipeOutlet) = |mut outlet| outlet.finish();
        for end in [finish, drop] {
            let ((mut outlet, reader), hub) = (pipe(100), Arc::default());
            let _ = write(&mut outlet, b"the last frame", &hub);
            end(outlet);
            let last_word = poll(reader.last_word(), &hub);
            assert_eq!(last_word, Poll::Ready(LastWord::Finish));
            assert_eq!(read(&reader, &hub), some("the last frame"));
            assert_eq!(read(&reader, &hub), Poll::Ready(None));
        }
    }

    #[test]
    fn what_waits_is_lost_when_it_is_aborted() {
        let ((mut outlet, reader), hub) = (pipe(100), Arc::default());
        let _ = write(&mut outlet, b"given up", &hub);
        outlet.abort();
        assert_eq!(read(&reader, &hub), Poll::Ready(None));
        let last_word = poll(reader.last_word(), &hub);
        assert_eq!(last_word, Poll::Ready(LastWord::Abort));
    }

    #[test]
    fn a_broken_pipe_takes_nothing_and_wakes_the_writer() {
        let ((mut outlet, reader), hub) = (pipe(4), Arc::default());
        assert_eq!(write(&mut outlet, b"full", &hub), Poll::Ready(Some(4)));
        assert_eq!(write(&mut outlet, b"more", &hub), Poll::Pending);
        drop(reader);
        assert_eq!(hub.times(), 1);
        assert_eq!(write(&mut outlet, b"more", &hub), Poll::Ready(None));
        // As the hub does then.
        outlet.abort();
    }

    #[test]
    fn the_smallest_pipe_holds_one_byte() {
        let ((mut outlet, reader), hub) = (pipe(0), Arc::default());
        assert_eq!(write(&mut outlet, b"ab", &hub), Poll::Ready(Some(1)));
        assert_eq!(read(&reader, &hub), some("a"));
    }

    #[test]
    fn both_ends_say_how_much_waits_and_not_what() {
        let ((mut outlet, reader), hub) = (pipe(8), Arc::default());
        let _ = write(&mut outlet, b"secret", &hub);
        let ends = format!("{outlet:?} {reader:?}");
        assert_eq!(ends, "PipeOutlet(6 of 8 bytes) PipeReader(6 of 8 bytes)");
    }
}
