//! What was said on the server before: more than its store keeps of it in memory, so that what the
//! attackers say is no reason for it to take more.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use parlor_tests::client::{frame, head};
use smol::{LocalExecutor, Timer};

use crate::wire::Wire;

/// Everybody says so much alone in a room, 2,000 letters at a time: 40 MB, of which 32 MiB are kept.
const WRITERS: u8 = 200;
const MESSAGES: u32 = 100;
/// As fast as the server allows.
const EVERY: Duration = Duration::from_millis(100);
/// So many share an address.
const PER_ADDRESS: u8 = 50;

/// Says all of it, and waits until it is stored.
pub(crate) async fn fill(executor: &LocalExecutor<'_>, server: SocketAddr) -> Result<(), String> {
    let writing = (0..WRITERS).map(|writer| executor.spawn(write(server, writer)));
    for written in writing.collect::<Vec<_>>() {
        let written = written.await;
        written.map_err(|error| format!("the archive cannot be filled: {error}"))?;
    }
    Ok(())
}

async fn write(server: SocketAddr, writer: u8) -> io::Result<()> {
    let from = Ipv4Addr::new(127, 0, 3, writer / PER_ADDRESS + 1);
    let mut wire = Wire::connect(from, server).await?;
    let room = format!("archive-{writer}");
    let join = format!(r#"{{"type":"join","roomId":"{room}","username":"{room}"}}"#);
    let said = "x".repeat(2000);
    let message = format!(r#"{{"type":"message","roomId":"{room}","text":"{said}"}}"#);
    let message = frame(head::TEXT, message.as_bytes());
    wire.write(&frame(head::TEXT, join.as_bytes())).await?;
    wire.frame().await?;
    for _ in 0..MESSAGES {
        Timer::after(EVERY).await;
        wire.write(&message).await?;
        wire.frame().await?;
    }
    Ok(())
}
