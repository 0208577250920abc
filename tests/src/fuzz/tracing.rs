//! Target `trace`.

use parlor_hub::trace::{Line, Player, Reader, show};

/// A trace from anywhere is read, applied and shown, or refused.
pub fn tracing(bytes: &[u8]) {
    let Ok(mut reader) = Reader::open(bytes) else {
        return;
    };
    visible(&show::head(reader.head()));
    let mut player = Player::default();
    loop {
        match reader.next_line() {
            Ok(Some(Line::Begin(begin))) => {
                visible(&show::begin(&begin));
                // The core vouches for the states that it comes to, not for others.
                let known = begin.state.as_ref().map(|state| state.limits().clone());
                let fresh = known.map(parlor_core::State::new);
                if begin.state != fresh || player.begin(*begin).is_err() {
                    return;
                }
            }
            Ok(Some(Line::Event(event))) => {
                visible(&show::event(&event));
                let Ok(played) = player.event(&event) else {
                    return;
                };
                for effect in &played.effects {
                    visible(&show::effect(effect));
                }
                if let Some(state) = player.state() {
                    assert_eq!(state.check(), Ok(()));
                }
            }
            Ok(None) => return,
            Err(error) => return visible(&error.to_string()),
        }
    }
}

/// Nothing that a terminal would take for more than text.
fn visible(text: &str) {
    let hidden = |c: char| c.is_control() && c != '\n';
    assert!(!text.contains(hidden), "{text:?}");
}
