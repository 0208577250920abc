//! What was said and what each connection heard of it: whether anything is missing, came twice, or
//! came in another order than to the others.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use rustc_hash::FxHashMap;

/// What became of everything that was said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Deliveries that did not come.
    pub(super) missing: u64,
    /// Deliveries that came again.
    pub(super) duplicates: u64,
    /// Deliveries of what nobody said.
    pub(super) strange: u64,
    /// Connections that heard the same as the others of their room in another order.
    pub(super) other_order: u64,
}

impl AddAssign for Verdict {
    fn add_assign(&mut self, other: Self) {
        self.missing += other.missing;
        self.duplicates += other.duplicates;
        self.strange += other.strange;
        self.other_order += other.other_order;
    }
}

impl Verdict {
    pub(super) fn is_good(self) -> bool {
        self == Self::default()
    }
}

/// What one connection heard.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// For each sender the number that comes next.
    next: FxHashMap<u32, u32>,
    /// Numbers that were passed over; they may come yet, in another order.
    passed: FxHashMap<u32, Vec<u32>>,
    duplicates: u64,
    strange: u64,
    /// Of everything in its order.
    digest: u64,
}

impl Heard {
    /// A delivery came, of the `number`th that a user said, who has said `said` by now. Whether it is
    /// one that was to come.
    pub(super) fn hear(&mut self, user: u32, number: u32, said: u32) -> bool {
        if number >= said {
            self.strange += 1;
            return false;
        }
        let next = self.next.entry(user).or_default();
        if number >= *next {
            if number > *next {
                self.passed.entry(user).or_default().extend(*next..number);
            }
            *next = number.saturating_add(1);
        } else {
            let passed = self.passed.entry(user).or_default();
            match passed.iter().position(|&it| it == number) {
                Some(at) => drop(passed.swap_remove(at)),
                None => {
                    self.duplicates += 1;
                    return false;
                }
            }
        }
        // Each step is one to one and mixes, so two orders hardly ever have one digest.
        let item = u64::from(user) << 32 | u64::from(number);
        let mixed = (item ^ item >> 29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.digest = (self.digest ^ mixed)
            .wrapping_mul(0xd6e8_feb8_6659_fd93)
            .rotate_left(31);
        true
    }

    /// Compares with what was said in the room: by each user as many as `said` has.
    fn judge(&self, said: &BTreeMap<u32, u32>) -> Verdict {
        let late = self.passed.values().map(|passed| passed.len() as u64);
        let mut verdict = Verdict {
            missing: late.sum(),
            duplicates: self.duplicates,
            strange: self.strange,
            other_order: 0,
        };
        for (user, &count) in said {
            let next = self.next.get(user).copied().unwrap_or_default();
            verdict.missing += u64::from(count.saturating_sub(next));
        }
        verdict
    }
}

/// Judges a room: what each of its users said, and what each of its connections heard.
pub(super) fn judge<'a>(
    said: &BTreeMap<u32, u32>,
    heard: impl Iterator<Item = &'a Heard>,
) -> Verdict {
    let mut all = Verdict::default();
    let mut orders: FxHashMap<u64, u64> = FxHashMap::default();
    for heard in heard {
        let one = heard.judge(said);
        all += one;
        if one.missing == 0 {
            *orders.entry(heard.digest).or_default() += 1;
        }
    }
    let agree = orders.values().copied().max().unwrap_or_default();
    all.other_order = orders.values().sum::<u64>() - agree;
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: [(u32, u32); 2] = [(1, 2), (2, 1)];

    fn verdict(heard: &[&[(u32, u32)]]) -> Verdict {
        let said = BTreeMap::from(SAID);
        let heard: Vec<Heard> = heard
            .iter()
            .map(|all| {
                let mut heard = Heard::default();
                let count = |user| said.get(&user).copied().unwrap_or_default();
                all.iter().for_each(|&(user, number)| {
                    heard.hear(user, number, count(user));
                });
                heard
            })
            .collect();
        judge(&said, heard.iter())
    }

    const GOOD: &[(u32, u32)] = &[(1, 0), (2, 0), (1, 1)];

    #[test]
    fn all_that_heard_everything_in_one_order_are_good() {
        assert!(verdict(&[GOOD, GOOD, GOOD]).is_good());
        assert!(verdict(&[]).is_good());
    }

    #[test]
    fn what_does_not_come_is_missing() {
        for heard in [&[(1, 0), (1, 1)][..], &[(1, 1), (2, 0)], &[(1, 0), (2, 0)]] {
            let expected = Verdict {
                missing: 1,
                ..Verdict::default()
            };
            assert_eq!(verdict(&[GOOD, heard]), expected, "{heard:?}");
        }
        assert_eq!(verdict(&[&[]]).missing, 3);
    }

    #[test]
    fn what_comes_again_is_a_duplicate() {
        let again = &[(1, 0), (2, 0), (1, 1), (1, 0), (1, 1)];
        let expected = Verdict {
            duplicates: 2,
            ..Verdict::default()
        };
        assert_eq!(verdict(&[GOOD, again]), expected);
    }

    #[test]
    fn what_nobody_said_is_strange() {
        let more = &[(1, 0), (2, 0), (1, 1), (2, 1), (3, 0)];
        let expected = Verdict {
            strange: 2,
            ..Verdict::default()
        };
        assert_eq!(verdict(&[GOOD, more]), expected);
    }

    #[test]
    fn another_order_than_that_of_most_is_noticed() {
        let expected = Verdict {
            other_order: 1,
            ..Verdict::default()
        };
        for other in [
            &[(2, 0), (1, 0), (1, 1)],
            &[(1, 0), (1, 1), (2, 0)],
            &[(1, 1), (1, 0), (2, 0)],
        ] {
            assert_eq!(verdict(&[GOOD, other, GOOD]), expected, "{other:?}");
        }
    }
}
