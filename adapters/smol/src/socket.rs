//! The sockets of connections, and how tasks learn that they are ready.
//!
//! smol's own reactor asks the kernel anew each time a task waits for a socket, hands out one
//! readiness at a time, and shares its work with a helper thread, whose interference costs up to a
//! third of the server's time when a turn of the hub is long. So these sockets have an epoll of
//! their own, in edge-triggered mode: one registration for life, and readiness for all of them at
//! once. smol's reactor watches that epoll as if it were a socket, and only when nothing is ready.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use futures_lite::{AsyncRead, AsyncWrite, future};
use rustix::event::{Timespec, epoll};
use smol::Async;

/// Sockets that are told ready at once; the others wait for the next look.
const EVENTS: usize = 256;
/// Not to wait.
const AT_ONCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 0,
};

/// The epoll of all sockets.
pub(crate) struct Sockets {
    epoll: Async<OwnedFd>,
    next_key: AtomicU64,
    open: Mutex<BTreeMap<u64, Weak<Shared>>>,
}

/// A non-blocking TCP socket; its clones are the same socket.
#[derive(Clone)]
pub(crate) struct Socket(Arc<Shared>);

struct Shared {
    stream: TcpStream,
    key: u64,
    sockets: Arc<Sockets>,
    readable: Readiness,
    writable: Readiness,
}

impl Sockets {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Arc::new(Self {
            epoll: Async::new_nonblocking(epoll)?,
            next_key: AtomicU64::new(0),
            open: Mutex::default(),
        }))
    }

    /// Takes over a socket from smol's reactor; nobody else may have it.
    pub(crate) fn adopt(self: &Arc<Self>, stream: smol::net::TcpStream) -> io::Result<Socket> {
        let stream: Arc<Async<TcpStream>> = stream.into();
        let stream = Arc::into_inner(stream)
            .ok_or(io::ErrorKind::ResourceBusy)?
            .into_inner()?;
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::new(Shared {
            stream,
            key,
            sockets: self.clone(),
            readable: Readiness::default(),
            writable: Readiness::default(),
        });
        self.open().insert(key, Arc::downgrade(&shared));
        let flags = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        epoll::add(
            self.epoll.get_ref(),
            &shared.stream,
            epoll::EventData::new_u64(key),
            flags,
        )?;
        Ok(Socket(shared))
    }

    /// Wakes whoever waits for a socket that is ready, until the system refuses to tell.
    pub(crate) async fn watch(self: Arc<Self>) -> io::Error {
        loop {
            let waited = match self.look() {
                Ok(0) => self.epoll.readable().await,
                Ok(_) => {
                    // They and the hub have their turn; whatever becomes ready meanwhile is told
                    // without asking smol's reactor.
                    future::yield_now().await;
                    Ok(())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = waited
                && error.kind() != io::ErrorKind::Interrupted
            {
                return error;
            }
        }
    }

    /// Tells the sockets that became ready, and how many they are.
    fn look(&self) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); EVENTS];
        let (events, _) = epoll::wait(self.epoll.get_ref(), &mut space[..], Some(&AT_ONCE))?;
        let ended = epoll::EventFlags::RDHUP | epoll::EventFlags::HUP | epoll::EventFlags::ERR;
        for event in &*events {
            let (flags, key) = (event.flags, event.data.u64());
            let socket = self.open().get(&key).and_then(Weak::upgrade);
            let Some(socket) = socket else { continue };
            let ends = flags.intersects(ended);
            if flags.intersects(epoll::EventFlags::IN | ended) {
                socket.readable.set(ends);
            }
            if flags.intersects(epoll::EventFlags::OUT | ended) {
                socket.writable.set(ends);
            }
        }
        Ok(events.len())
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<Shared>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The epoll forgets a socket when it is closed, which takes that nobody has duplicated it.
        self.sockets.open().remove(&self.key);
    }
}

impl Socket {
    pub(crate) fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.0.stream.shutdown(how)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let most = buf.len();
        self.0
            .readable
            .poll(cx, most, || (&self.0.stream).read(buf))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let most = buf.len();
        self.0
            .writable
            .poll(cx, most, || (&self.0.stream).write(buf))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.shutdown(Shutdown::Write))
    }
}

/// Whether one direction of a socket may be ready, and who waits until it is.
struct Readiness {
    ready: AtomicBool,
    /// The peer is done with this direction, or with both: there will be no further edge.
    ended: AtomicBool,
    waiting: AtomicWaker,
}

impl Default for Readiness {
    /// A new socket may be: the first try tells.
    fn default() -> Self {
        Self {
            ready: AtomicBool::new(true),
            ended: AtomicBool::new(false),
            waiting: AtomicWaker::new(),
        }
    }
}

impl Readiness {
    fn set(&self, ended: bool) {
        self.ended.fetch_or(ended, Ordering::Release);
        self.ready.store(true, Ordering::Release);
        self.waiting.wake();
    }

    /// Tries `io` on up to `most` bytes as long as the socket may be ready. When it did fewer, there
    /// is nothing more to do until the next edge, epoll(7) says, so it need not be asked only to
    /// learn that.
    fn poll(
        &self,
        cx: &Context<'_>,
        most: usize,
        mut io: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if !self.ready.load(Ordering::Acquire) {
                self.waiting.register(cx.waker());
                // It may have become ready between the look and the registration.
                if !self.ready.load(Ordering::Acquire) {
                    return Poll::Pending;
                }
            }
            // Before the try, so that an edge during it is not lost.
            self.ready.store(false, Ordering::Release);
            match io() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.ready.store(true, Ordering::Release);
                }
                Ok(done @ 1..) if done < most && !self.ended.load(Ordering::Acquire) => {
                    return Poll::Ready(Ok(done));
                }
                done => {
                    self.ready.store(true, Ordering::Release);
                    return Poll::Ready(done);
                }
            }
        }
    }
}

impl fmt::Debug for Sockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sockets({})", self.open().len())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use futures_lite::AsyncReadExt;
    use smol::Executor;

    use super::*;

    /// Runs `test` with one end of a connection, and gives it the other.
    fn with_socket<F: Future<Output = ()>>(test: impl FnOnce(Socket, TcpStream) -> F) {
        let executor = Executor::new();
        let sockets = Sockets::new().unwrap();
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        executor.spawn(sockets.clone().watch()).detach();
        smol::block_on(executor.run(async {
            let accepted = smol::net::TcpStream::try_from(accepted).unwrap();
            test(sockets.adopt(accepted).unwrap(), peer).await;
        }));
    }

    #[test]
    fn what_comes_behind_a_short_read_is_read() {
        with_socket(|mut socket, mut peer| async move {
            let mut buf = [0; 10];
            for round in 0..3 {
                peer.write_all(&[round; 5]).unwrap();
                let mut read = 0;
                while read < 5 {
                    read += socket.read(&mut buf[read..]).await.unwrap();
                }
                assert_eq!(buf[..5], [round; 5]);
            }
        });
    }

    #[test]
    fn an_end_that_comes_with_the_last_bytes_is_seen() {
        with_socket(|mut socket, mut peer| async move {
            peer.write_all(b"bye").unwrap();
            drop(peer);
            let mut all = Vec::new();
            socket.read_to_end(&mut all).await.unwrap();
            assert_eq!(all, b"bye");
        });
    }

    #[test]
    fn a_short_read_is_not_followed_by_a_try() {
        let readiness = Readiness::default();
        let cx = Context::from_waker(std::task::Waker::noop());
        let mut tries = 0;
        let mut poll = |readiness: &Readiness, done: usize| {
            let polled = readiness.poll(&cx, 10, || {
                tries += 1;
                Ok(done)
            });
            (polled.is_ready(), tries)
        };
        assert_eq!(poll(&readiness, 10), (true, 1), "all that was asked for");
        assert_eq!(poll(&readiness, 3), (true, 2), "less");
        assert_eq!(poll(&readiness, 3), (false, 2), "nothing to be had");
        readiness.set(false);
        assert_eq!(poll(&readiness, 3), (true, 3), "an edge");
        readiness.set(true);
        assert_eq!(poll(&readiness, 3), (true, 4), "the last edge");
        assert_eq!(
            poll(&readiness, 0),
            (true, 5),
            "the end is there to be read"
        );
        assert_eq!(poll(&readiness, 0), (true, 6), "again and again");
    }
}
