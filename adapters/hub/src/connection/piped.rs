//! Connections whose stream the hub cannot write to itself, such as TLS, where reading and writing
//! share their state. It writes to a pipe, and the connection's task carries on what comes out.

use std::future::Future;
use std::io;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use futures_lite::{AsyncWrite, AsyncWriteExt, FutureExt};
use parlor_core::ConnId;
use tracing::{debug, error};

use crate::connection::beside::Beside;
use crate::connection::{Timer, Wire};
use crate::pipe::{LastWord, PipeOutlet, PipeReader, pipe};

/// Bytes that wait to be carried on: one full record of TLS, or some hundred messages. What is
/// beyond them waits in the hub, where it counts for `outbox_total_bytes`, and which may still
/// decide anew.
const PIPE_BYTES: usize = 16 << 10;

impl<R, S> Wire<R, PipeOutlet, S> {
    /// Over any stream, of which these are the halves. Its peer has `grace` to take its last frames
    /// once all of them are in the pipe; else `abort` ends the stream, the reading half included.
    /// What the peer sends behind the end is read from `rest` and dropped.
    pub fn piped<T: Timer>(
        reader: R,
        writer: impl AsyncWrite + Send + Unpin + 'static,
        rest: S,
        abort: impl FnOnce() + Send + 'static,
        grace: Duration,
    ) -> Self {
        let (outlet, frames) = pipe(PIPE_BYTES);
        Self {
            reader,
            outlet,
            pump: Box::new(move |conn| Beside::new(pump::<T>(frames, writer, abort, grace, conn))),
            rest,
        }
    }
}

/// Sends what comes out of the pipe, and says goodbye behind it. If that fails or takes too long, the
/// connection ends as a whole.
fn pump<T: Timer>(
    frames: PipeReader,
    writer: impl AsyncWrite + Send + Unpin,
    abort: impl FnOnce() + Send,
    grace: Duration,
    conn: ConnId,
) -> impl Future<Output = ()> {
    let pumping = async move {
        let given_up = async {
            match frames.last_word().await {
                LastWord::Finish => T::at(Instant::now() + grace).await,
                LastWord::Abort => return Err(io::ErrorKind::ConnectionAborted.into()),
            };
            Err(io::ErrorKind::TimedOut.into())
        };
        // First, since behind an abort there is nothing to carry either.
        given_up.or(carry(&frames, writer)).await
    };
    async move {
        let pumped = AssertUnwindSafe(pumping).catch_unwind().await;
        match pumped {
            Ok(Ok(())) => return,
            Ok(Err(error)) => debug!(%conn, %error, "cannot write"),
            Err(_) => error!(%conn, "the task of this connection panicked"),
        }
        // The reading half learns that it is over.
        abort();
    }
}

async fn carry(frames: &PipeReader, mut writer: impl AsyncWrite + Unpin) -> io::Result<()> {
    while let Some(bytes) = frames.read().await {
        writer.write_all(&bytes).await?;
        writer.flush().await?;
    }
    // Over TLS close_notify, and the end of the socket's sending half.
    writer.close().await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, Mutex};
    use std::task::{Context, Poll};

    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::outlet::Outlet;

    thread_local! {
        /// Whether the time of every timer has come.
        static LATE: Cell<bool> = const { Cell::new(false) };
    }

    const GRACE: Duration = Duration::from_secs(1000);

    struct TestTimer;

    impl Timer for TestTimer {
        fn at(moment: Instant) -> Self {
            let ahead = moment.saturating_duration_since(Instant::now());
            assert!(ahead > GRACE / 2, "it is for the end of the grace");
            Self
        }

        fn set_at(&mut self, _: Instant) {}
    }

    impl Future for TestTimer {
        type Output = ();

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
            if LATE.get() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }
    }

    /// What a stream took, and whether it was closed behind that.
    #[derive(Clone, Default)]
    struct Stream(Arc<Mutex<(Vec<u8>, bool)>>);

    enum Write {
        Takes(Stream),
        Blocks,
        Fails,
        Panics,
    }

    impl AsyncWrite for Write {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            match &*self {
                Self::Takes(stream) => {
                    stream.0.lock().unwrap().0.extend_from_slice(bytes);
                    Poll::Ready(Ok(bytes.len()))
                }
                Self::Blocks => Poll::Pending,
                Self::Fails => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                Self::Panics => panic!("planned: the stream panics"),
            }
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if let Self::Takes(stream) = &*self {
                stream.0.lock().unwrap().1 = true;
            }
            Poll::Ready(Ok(()))
        }
    }

    /// The hub's end, what carries on, and whether that ended the stream as a whole.
    fn piped(write: Write) -> (PipeOutlet, Beside, Arc<AtomicBool>) {
        let aborted = Arc::<AtomicBool>::default();
        let flag = aborted.clone();
        let abort = move || flag.store(true, Ordering::Relaxed);
        let wire = Wire::piped::<TestTimer>((), write, (), abort, GRACE);
        (wire.outlet, (wire.pump)(ConnId(0)), aborted)
    }

    fn write(outlet: &mut PipeOutlet) -> io::Result<usize> {
        block_on(poll_fn(|cx| outlet.poll_write(cx, b"frame")))
    }

    fn ends(pump: &mut Beside) -> bool {
        block_on(poll_once(pump)).is_some()
    }

    #[test]
    fn what_was_written_arrives_before_the_end() {
        let stream = Stream::default();
        let (mut outlet, mut pump, aborted) = piped(Write::Takes(stream.clone()));
        write(&mut outlet).unwrap();
        assert!(!ends(&mut pump));
        assert_eq!(*stream.0.lock().unwrap(), (b"frame".to_vec(), false));
        write(&mut outlet).unwrap();
        outlet.finish();
        assert!(ends(&mut pump));
        assert_eq!(*stream.0.lock().unwrap(), (b"frameframe".to_vec(), true));
        assert!(!aborted.load(Ordering::Relaxed));
    }

    #[test]
    fn an_abort_ends_the_reading_half_as_well() {
        let (mut outlet, mut pump, aborted) = piped(Write::Blocks);
        write(&mut outlet).unwrap();
        assert!(!ends(&mut pump));
        outlet.abort();
        assert!(ends(&mut pump));
        assert!(aborted.load(Ordering::Relaxed));
    }

    #[test]
    fn who_does_not_take_its_last_frames_in_time_is_cut() {
        let (mut outlet, mut pump, aborted) = piped(Write::Blocks);
        write(&mut outlet).unwrap();
        outlet.finish();
        assert!(!ends(&mut pump));
        LATE.set(true);
        assert!(ends(&mut pump));
        assert!(aborted.load(Ordering::Relaxed));
    }

    #[test]
    fn a_write_that_fails_or_panics_breaks_the_pipe() {
        for fault in [Write::Fails, Write::Panics] {
            let (mut outlet, mut pump, aborted) = piped(fault);
            write(&mut outlet).unwrap();
            assert!(ends(&mut pump));
            assert!(aborted.load(Ordering::Relaxed));
            assert!(write(&mut outlet).is_err());
        }
    }
}
