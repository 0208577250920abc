//! Echoes every message, for conformance tests of the WebSocket below the chat: connections, frames
//! and the hub are the server's own, only the protocol on top is another.
//!
//! `cargo run --release -p parlor-tests --example echo -- 127.0.0.1:9001`

use std::error::Error;
use std::future;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;

use parlor_core::session::Due;
use parlor_core::{Limits, Timestamp};
use parlor_hub::connection::{ConnectionClock, Flow, Protocol};
use parlor_hub::entrance::AllowedOrigin;
use parlor_hub::{Connection, Opcode, frame};
use parlor_smol::{Config, Listen, Server, Storage};
use smol::Executor;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

struct Echo {
    deadline: Timestamp,
}

async fn echo(connection: &Connection, opcode: Opcode, payload: &[u8]) -> Flow {
    match connection.control(frame(opcode, payload)).await {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(None),
    }
}

impl Protocol for Echo {
    async fn text(&mut self, connection: &Connection, text: &str, _: ConnectionClock) -> Flow {
        echo(connection, Opcode::Text, text.as_bytes()).await
    }

    async fn binary(&mut self, connection: &Connection, bytes: &[u8]) -> Flow {
        echo(connection, Opcode::Binary, bytes).await
    }

    fn control(&mut self, _: Timestamp) -> Flow {
        ControlFlow::Continue(())
    }

    fn due(&mut self, now: Timestamp) -> Due {
        self.deadline = now.plus_ms(DAY_MS);
        Due::Nothing
    }

    fn deadline(&self) -> Timestamp {
        self.deadline
    }
}

#[allow(clippy::print_stdout, reason = "the line that says where it listens")]
fn main() -> Result<(), Box<dyn Error>> {
    let listen: SocketAddr = std::env::args()
        .nth(1)
        .ok_or("say where to listen, such as 127.0.0.1:9001")?
        .parse()?;
    let limits = Limits {
        frame_bytes: 64 << 20,
        outbox_bytes: 256 << 20,
        connections: 0,
        connections_per_address: 0,
        ..Limits::default()
    };
    let config = Config {
        listen: Listen::Address(listen),
        admin: None,
        limits,
        verifier: None,
        tls: None,
        storage: Storage::Memory,
        crash_dir: std::env::temp_dir(),
        origins: vec![AllowedOrigin::ANY],
        recording: None,
        trusted_proxies: Vec::new(),
        lost_log_lines: None,
    };
    let executor = Arc::new(Executor::new());
    smol::block_on(executor.clone().run(async {
        let server = Server::bind(config, executor.clone()).await?;
        println!("echoing on ws://{}", server.address());
        let begin = |now: Timestamp| Echo {
            deadline: now.plus_ms(DAY_MS),
        };
        let serving = server.run_protocol(future::pending(), begin);
        executor.spawn(serving).await?;
        Ok(())
    }))
}
