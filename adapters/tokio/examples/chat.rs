//! A chat in an axum application: `cargo run --release -p parlor-tokio --example chat -- 127.0.0.1:8080`
//! serves it at `/ws` until Ctrl-C. `PARLOR_THREADS` is how many threads tokio gets; without it, one.

use std::error::Error;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use parlor_core::Limits;
use parlor_tokio::Chat;
use tokio::net::TcpListener;
use tokio::runtime;

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:8080".into());
    let threads: usize = match std::env::var("PARLOR_THREADS") {
        Ok(threads) => threads.parse()?,
        Err(_) => 1,
    };
    let runtime = if threads > 1 {
        runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()?
    } else {
        runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
    };
    runtime.block_on(serve(address.parse()?))
}

async fn serve(address: SocketAddr) -> Result<(), Box<dyn Error>> {
    // Flood control would refuse whoever measures.
    let limits = Limits {
        messages_per_second: 0,
        connections_per_address: 0,
        ..Limits::default()
    };
    let chat = Chat::builder().limits(limits).start()?;
    let app = Router::new()
        .route("/ws", get(parlor_tokio::handler))
        .with_state(chat.clone())
        .into_make_service_with_connect_info::<SocketAddr>();
    let listener = TcpListener::bind(address).await?;
    let stopped = async move {
        let _ = tokio::signal::ctrl_c().await;
        chat.shutdown().await;
    };
    axum::serve(listener, app)
        .with_graceful_shutdown(stopped)
        .await?;
    Ok(())
}
