//! Somebody who comes, joins a room and goes, again and again: also while the server is attacked
//! there must be a place for whoever is new.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use parlor_tests::client::{frame, head};
use smol::Timer;
use smol::future::FutureExt;

use crate::people::People;
use crate::wire::Wire;

const EVERY: Duration = Duration::from_millis(500);
/// The system itself may take 3 s to try again when too many connect at once.
const PATIENCE: Duration = Duration::from_secs(5);
const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 100);

/// Visits the server until it fails.
pub(crate) async fn come_and_go(server: SocketAddr, people: People) {
    loop {
        let begun = Instant::now();
        let patience = async {
            Timer::after(PATIENCE).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        if let Err(error) = visit(server).or(patience).await {
            return people.find_fault(format!("a visitor did not get in: {error}"));
        }
        people.note_visit(begun.elapsed());
        Timer::after(EVERY).await;
    }
}

async fn visit(server: SocketAddr) -> io::Result<()> {
    let mut wire = Wire::connect(ADDRESS, server).await?;
    let join = br#"{"type":"join","roomId":"visit","username":"visitor"}"#;
    wire.write(&frame(head::TEXT, join)).await?;
    let (_, answer) = wire.frame().await?;
    if !answer.starts_with(br#"{"type":"joined""#) {
        return Err(io::Error::other(String::from_utf8_lossy(answer)));
    }
    // Its name is free again when this is answered.
    wire.write(&frame(head::CLOSE, &1000_u16.to_be_bytes()))
        .await?;
    while !matches!(wire.frame().await?, (head::CLOSE, _)) {}
    Ok(())
}
