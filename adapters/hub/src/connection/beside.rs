//! What goes on beside whatever else a task awaits.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_lite::{FutureExt, future};

/// A future that is driven along with others. It may be awaited itself at any time, also when it
/// has ended.
pub(super) struct Beside(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Beside {
    /// Something that has ended already.
    pub(super) const fn nothing() -> Self {
        Self(None)
    }

    pub(super) fn new(future: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(Box::pin(future)))
    }

    /// Goes on until `main` is through.
    // No async fn: that would have space for `main` twice, as it comes and as it is awaited.
    pub(super) fn during<T>(&mut self, main: impl Future<Output = T>) -> impl Future<Output = T> {
        let go_on = async {
            self.await;
            future::pending().await
        };
        main.or(go_on)
    }
}

impl Future for Beside {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let ended = match &mut self.0 {
            Some(future) => future.as_mut().poll(cx).is_ready(),
            None => true,
        };
        if ended {
            // Its memory is not kept.
            self.0 = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_lite::future::{block_on, poll_once, yield_now};

    use super::*;

    #[test]
    fn it_goes_on_while_others_are_awaited_and_keeps_its_place() {
        let steps = Arc::new(AtomicU32::new(0));
        let count = steps.clone();
        let mut beside = Beside::new(async move {
            for _ in 0..3 {
                count.fetch_add(1, Ordering::Relaxed);
                yield_now().await;
            }
        });
        block_on(async {
            assert_eq!(beside.during(yield_now()).await, ());
            assert_eq!(steps.load(Ordering::Relaxed), 1);
            let main = async {
                yield_now().await;
                yield_now().await;
                "done"
            };
            assert_eq!(beside.during(main).await, "done");
            assert_eq!(steps.load(Ordering::Relaxed), 3);
            assert_eq!(poll_once(&mut beside).await, Some(()));
            for _ in 0..2 {
                (&mut beside).await;
                assert_eq!(beside.during(async { 7 }).await, 7);
            }
        });
    }
}
