//! tokio's timer, as connections need it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use parlor_hub::connection;
use tokio::time::{Sleep, sleep_until};

pub(crate) struct TokioTimer(Pin<Box<Sleep>>);

impl connection::Timer for TokioTimer {
    fn at(moment: Instant) -> Self {
        Self(Box::pin(sleep_until(moment.into())))
    }

    fn set_at(&mut self, moment: Instant) {
        self.0.as_mut().reset(moment.into());
    }
}

impl Future for TokioTimer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}
