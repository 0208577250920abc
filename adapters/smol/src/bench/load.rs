//! Lets people talk, at their pace, and waits for what they said.

use std::rc::Rc;
use std::time::{Duration, Instant};

use async_tungstenite::tungstenite::Message;
use futures_lite::FutureExt;
use smol::{LocalExecutor, Task, Timer};

use super::failure::Failure;
use super::moment::Moment;
use super::run::Run;
use super::user::Writer;
use crate::cli::Pace;

/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(100);
/// What did not come after so long without a delivery does not come any more.
const DRAIN: Duration = Duration::from_secs(5);
/// Of a second.
const NANOS: u64 = 1_000_000_000;
/// For all goodbyes together.
const GOODBYE: Duration = Duration::from_secs(1);

/// Everybody is there: the load itself, from the first message to the last delivery. The moments
/// between which it was measured, if nothing went wrong before.
pub(super) async fn run<'a>(
    run: &Rc<Run<'a>>,
    writers: Vec<Writer>,
    executor: &LocalExecutor<'a>,
) -> Result<Option<[Moment; 2]>, Failure> {
    let task = run.task;
    let begin = run.now_ns();
    let from = begin + nanos(task.warmup());
    let end = from + nanos(task.measured());
    run.measure(from..end);
    run.progress.reset();
    run.progress.set_length((end - begin) / NANOS);
    let mut talkers = Vec::new();
    let mut listeners = Vec::new();
    for (user, writer) in (0..).zip(writers) {
        if task.says(user) {
            talkers.push(executor.spawn(talk(run.clone(), user, writer)));
        } else {
            listeners.push(writer);
        }
    }
    let pacer = executor.spawn(pace(run.clone(), begin));
    let all = async {
        watch(run, begin, from).await;
        let before = Moment::now(run).await?;
        watch(run, begin, end).await;
        let after = Moment::now(run).await?;
        drain(run, &pacer).await;
        Ok(Some([before, after]))
    };
    let failed = async {
        run.failed().await;
        Ok(None)
    };
    let measured = all.or(failed).await?;
    let goodbye = async {
        for talker in talkers {
            talker.cancel().await;
        }
        for mut listener in listeners {
            // Whoever is gone needs no goodbye.
            let _ = listener.close(None).await;
        }
    };
    let late = async {
        Timer::after(GOODBYE).await;
    };
    goodbye.or(late).await;
    Ok(measured)
}

/// Says what is due, when it is.
async fn talk(run: Rc<Run<'_>>, user: u32, mut writer: Writer) {
    let (dues, room) = (run.dues(user), run.room(user));
    while let Ok(due_ns) = dues.recv().await {
        let text = run.say(user, due_ns);
        // Neither has a character that JSON escapes.
        let frame = format!(r#"{{"type":"message","roomId":"{room}","text":"{text}"}}"#);
        if let Err(error) = writer.send(Message::text(frame)).await {
            return run.fail(Failure::Closed(None, error.to_string()));
        }
    }
}

/// Says when messages are due.
async fn pace(run: Rc<Run<'_>>, begin_ns: u64) {
    let users = || (0..run.task.connections).filter(|&user| run.task.says(user));
    match run.task.pace() {
        Pace::Closed(window) => {
            for _ in 0..window {
                for user in users() {
                    // There is a place for each of them.
                    let _ = run.due(user).try_send(run.now_ns());
                }
            }
        }
        Pace::Open(rate) => {
            let users: Vec<u32> = users().collect();
            for (count, &user) in (0u64..).zip(users.iter().cycle()) {
                let due_ns = begin_ns + due_after(count, rate);
                if !run.goes_on(due_ns) {
                    return;
                }
                if due_ns > run.now_ns() {
                    Timer::at(run.instant(due_ns)).await;
                }
                if run.due(user).send(due_ns).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// When the `count`th message is due, ns from the first.
fn due_after(count: u64, rate: u32) -> u64 {
    let ns = u128::from(count) * 1_000_000_000 / u128::from(rate);
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// Shows how far it is, until then.
async fn watch(run: &Run<'_>, begin_ns: u64, until_ns: u64) {
    let (mut before, mut at) = (run.delivered(), run.now_ns());
    while at < until_ns {
        Timer::after(LOOK.min(Duration::from_nanos(until_ns - at))).await;
        let (delivered, now) = (run.delivered(), run.now_ns());
        let rate = (delivered - before) as f64 * 1e9 / (now - at).max(1) as f64;
        (before, at) = (delivered, now);
        run.progress.set_position((now - begin_ns) / NANOS);
        run.progress
            .set_message(format!("s, {rate:.0} deliveries/s"));
    }
}

/// Waits for what is on its way, and for what was due and is late.
async fn drain(run: &Run<'_>, pacer: &Task<()>) {
    run.progress.set_message("s, waiting for the last of them");
    let (mut delivered, mut since) = (run.delivered(), Instant::now());
    let is_done = || pacer.is_finished() && run.delivered() >= run.expected();
    while !is_done() && since.elapsed() < DRAIN {
        Timer::after(LOOK / 10).await;
        if run.delivered() != delivered {
            (delivered, since) = (run.delivered(), Instant::now());
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_evenly() {
        assert_eq!(
            [0, 1, 2, 3].map(|count| due_after(count, 3)),
            [0, 333_333_333, 666_666_666, 1_000_000_000]
        );
        assert_eq!(due_after(u64::MAX, 1), u64::MAX);
    }
}
