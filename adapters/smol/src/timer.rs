//! smol's timer, as connections need it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use parlor_hub::connection;
use smol::Timer;

pub(crate) struct SmolTimer(Timer);

impl connection::Timer for SmolTimer {
    fn at(moment: Instant) -> Self {
        Self(Timer::at(moment))
    }

    fn set_at(&mut self, moment: Instant) {
        self.0.set_at(moment);
    }
}

impl Future for SmolTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}
