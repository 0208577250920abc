//! What is between a client and its server, and breaks.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Passes on what it is sent, until it is shut.
pub(super) struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    is_shut: bool,
    /// Both ends of each connection.
    open: Vec<TcpStream>,
}

impl Proxy {
    /// Its thread lives as long as the process, with a listener that nobody knows by then.
    pub(super) fn new(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there are ports");
        let address = listener.local_addr().expect("it has one");
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Whoever comes to a shut door is hung up on.
                let mut state = shared.lock().expect("nobody panics with it");
                if !state.is_shut
                    && let Ok(server) = TcpStream::connect(server)
                {
                    pass_on(&client, &server);
                    state.open.extend([client, server]);
                }
            }
        });
        Self { address, state }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks all connections.
    pub(super) fn cut(&self) {
        let mut state = self.state.lock().expect("nobody panics with it");
        for stream in state.open.drain(..) {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Breaks all connections, and lets nobody through.
    pub(super) fn shut(&self) {
        self.state.lock().expect("nobody panics with it").is_shut = true;
        self.cut();
    }

    /// Lets everybody through again.
    pub(super) fn open(&self) {
        self.state.lock().expect("nobody panics with it").is_shut = false;
    }
}

fn pass_on(client: &TcpStream, server: &TcpStream) {
    for (from, to) in [(client, server), (server, client)] {
        let [mut from, mut to] = [from, to].map(|end| end.try_clone().expect("there are files"));
        thread::spawn(move || {
            // However it ends, the other side is to know.
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
}
