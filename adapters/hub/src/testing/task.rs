//! Futures without a runtime.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A future that is polled only when it was woken, so that a wake-up which gets lost is a future
/// which never ends.
pub struct Task<T> {
    future: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    woken: Arc<Woken>,
    output: Option<T>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl<T> Task<T> {
    /// A task that was not polled yet.
    pub fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self {
            future: Some(Box::pin(future)),
            woken: Arc::new(Woken(AtomicBool::new(true))),
            output: None,
        }
    }

    /// Polls it until it is done or idle.
    ///
    /// # Panics
    /// When it wakes itself without end.
    pub fn run(&mut self) -> Option<&T> {
        const MOST_POLLS: usize = 100_000;
        let waker = Waker::from(self.woken.clone());
        let mut polls = 0;
        while let Some(future) = &mut self.future
            && self.woken.0.swap(false, Ordering::AcqRel)
        {
            polls += 1;
            assert!(polls < MOST_POLLS, "it never comes to rest");
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                self.output = Some(output);
                self.future = None;
            }
        }
        self.output.as_ref()
    }

    /// Whether it has something to do.
    pub(super) fn is_woken(&self) -> bool {
        self.future.is_some() && self.woken.0.load(Ordering::Acquire)
    }

    /// What became of it, if it is done.
    pub fn into_output(self) -> Option<T> {
        self.output
    }
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let runs = self.future.is_some();
        write!(f, "Task({})", if runs { "runs" } else { "done" })
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn a_task_that_wakes_itself_without_end_is_a_panic() {
        let mut task = Task::new(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
        let ran = catch_unwind(AssertUnwindSafe(|| task.run().is_some()));
        let panic = ran.unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"it never comes to rest"));
    }
}
