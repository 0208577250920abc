//! What the hub tells the reading half of a connection: that it may go on behind an answer (T-8),
//! and, by dropping its end, that it has finished. A channel would do, and takes twenty times the
//! memory for as long as the connection lives.

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use atomic_waker::AtomicWaker;

/// The hub's end.
#[derive(Debug)]
pub(crate) struct Releaser(Arc<Shared>);

/// The end of the connection's task. Only one task may wait.
#[derive(Debug)]
pub(crate) struct Releases(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    released: AtomicBool,
    finished: AtomicBool,
    waiting: AtomicWaker,
}

pub(crate) fn signals() -> (Releaser, Releases) {
    let shared = Arc::<Shared>::default();
    (Releaser(shared.clone()), Releases(shared))
}

impl Releaser {
    /// Lets the connection go on. One that was not seen yet is the same.
    pub(crate) fn release(&self) {
        self.0.released.store(true, Ordering::Release);
        self.0.waiting.wake();
    }
}

impl Drop for Releaser {
    fn drop(&mut self) {
        self.0.finished.store(true, Ordering::Release);
        self.0.waiting.wake();
    }
}

impl Releases {
    /// Waits for a release. False if there will be none, since the hub has finished.
    pub(crate) fn next(&self) -> impl Future<Output = bool> + Send {
        poll_fn(|cx| {
            let now = self.now();
            if now.is_ready() {
                return now;
            }
            self.0.waiting.register(cx.waker());
            // It may have come between the look and the registration.
            self.now()
        })
    }

    /// Whether the hub has finished with this connection.
    pub(crate) fn is_finished(&self) -> bool {
        self.0.finished.load(Ordering::Acquire)
    }

    fn now(&self) -> Poll<bool> {
        // In this order: what was released before the end counts.
        let finished = self.is_finished();
        // The swap alone would do, and takes longer.
        let released = &self.0.released;
        if released.load(Ordering::Relaxed) && released.swap(false, Ordering::Acquire) {
            return Poll::Ready(true);
        }
        if finished {
            Poll::Ready(false)
        } else {
            Poll::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn each_release_is_seen_once_and_the_end_for_ever() {
        let (releaser, releases) = signals();
        let look = || block_on(poll_once(releases.next()));
        assert_eq!(look(), None);
        releaser.release();
        releaser.release();
        assert_eq!((look(), look()), (Some(true), None));
        releaser.release();
        assert!(!releases.is_finished());
        drop(releaser);
        assert!(releases.is_finished());
        assert_eq!([look(), look(), look()], [true, false, false].map(Some));
    }

    #[test]
    fn whoever_waits_is_woken() {
        let (releaser, releases) = signals();
        let released = std::thread::spawn(move || {
            let mut seen = 0;
            while block_on(releases.next()) {
                seen += 1;
            }
            seen
        });
        releaser.release();
        drop(releaser);
        assert_eq!(released.join().unwrap(), 1);
    }

    #[test]
    fn a_wait_that_was_begun_ends() {
        let (releaser, releases) = signals();
        let mut waiting = pin!(releases.next());
        block_on(async {
            assert_eq!(poll_once(&mut waiting).await, None);
            releaser.release();
            assert!(waiting.await);
        });
    }
}
