//! What a service manager such as systemd hands over, and what it is told.

use std::net::{SocketAddr, TcpListener};

use futures_lite::StreamExt;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use smol::Timer;
use tracing::warn;

/// The socket that it listens on for us, if it does (sd_listen_fds(3)). Such a socket outlives the
/// process: who connects while it is started again waits instead of being refused.
///
/// Reads and changes the environment, so there must be no other thread yet.
pub(crate) fn listener() -> Result<Option<TcpListener>, String> {
    let mut sockets = ListenFd::from_env();
    if sockets.len() > 1 {
        let many = sockets.len();
        return Err(format!(
            "there are {many} sockets in LISTEN_FDS; leave one ListenStream= in the socket unit"
        ));
    }
    let listener = sockets.take_tcp_listener(0);
    let listener = listener.map_err(|error| unusable(&error.to_string()))?;
    #[cfg(target_os = "linux")]
    if let Some(socket) = &listener {
        let listens = rustix::net::sockopt::socket_acceptconn(socket);
        if !listens.map_err(|error| unusable(&error.to_string()))? {
            return Err(unusable("it does not listen"));
        }
    }
    Ok(listener)
}

fn unusable(why: &str) -> String {
    format!(
        "cannot use the socket of LISTEN_FDS: {why}; give a TCP socket that listens, such as the \
         one of a socket unit with ListenStream= and Accept=no"
    )
}

/// It accepts connections, at this address (sd_notify(3)).
pub(crate) fn ready(address: SocketAddr) {
    let status = format!("listening on {address}");
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// It says goodbye to everybody.
pub(crate) fn stopping() {
    let status = NotifyState::Status("saying goodbye");
    tell(&[NotifyState::Stopping, status]);
}

/// Tells a watchdog that whoever runs this, and so everything else of the server but its store,
/// gets its turn. The store has a limit of its own.
pub(crate) async fn keep_alive() {
    // Twice as often as it has to be, as sd_watchdog_enabled(3) recommends.
    let Some(interval) = sd_notify::watchdog_enabled().map(|patience| patience / 2) else {
        return;
    };
    if interval.is_zero() {
        return;
    }
    let mut intervals = Timer::interval(interval);
    while intervals.next().await.is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "cannot tell the service manager, NOTIFY_SOCKET");
    }
}
