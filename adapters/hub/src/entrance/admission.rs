//! Who may still come in: how many there are, and of which address. One counts WebSocket
//! connections, another the handshakes before them. An IPv6 address counts as its /64, which is the
//! least that one customer gets (RFC 6177) and holds more addresses than any limit.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_channel::{Receiver, Sender};

/// Counts connections against their limits; 0 is no limit.
#[derive(Debug)]
pub struct Admission {
    most: usize,
    most_per_address: usize,
    taken: Mutex<Taken>,
    /// Closed when nobody is there and nobody may come.
    gone: Receiver<Infallible>,
}

#[derive(Debug)]
struct Taken {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
    /// A clone is with everybody who is there; none once nobody may come.
    present: Option<Sender<Infallible>>,
}

/// Why a connection may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// There are too many.
    Server,
    /// There are too many of this address.
    Address,
}

/// A place, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    /// As it is counted, if it is.
    address: Option<IpAddr>,
    _present: Sender<Infallible>,
}

impl Admission {
    /// So many at most, and so many of one address.
    #[must_use]
    pub fn new(most: u32, most_per_address: u32) -> Arc<Self> {
        let (most, most_per_address) = (most as usize, most_per_address as usize);
        let (present, gone) = async_channel::bounded(1);
        let taken = Taken {
            all: 0,
            by_address: BTreeMap::new(),
            present: Some(present),
        };
        Arc::new(Self {
            most,
            most_per_address,
            taken: Mutex::new(taken),
            gone,
        })
    }

    /// A place for somebody; without an address it counts only among all.
    ///
    /// # Errors
    /// When there is none.
    pub fn admit(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Permit, Full> {
        let address = address.map(network);
        let mut taken = self.taken();
        let Some(present) = taken.present.clone() else {
            return Err(Full::Server);
        };
        let of_address = address.and_then(|address| taken.by_address.get(&address));
        let of_address = of_address.copied().unwrap_or_default();
        if self.most > 0 && taken.all >= self.most {
            return Err(Full::Server);
        }
        if self.most_per_address > 0 && of_address >= self.most_per_address {
            return Err(Full::Address);
        }
        taken.all += 1;
        if let Some(address) = address {
            taken.by_address.insert(address, of_address + 1);
        }
        Ok(Permit {
            admission: self.clone(),
            address,
            _present: present,
        })
    }

    /// How many are there.
    #[must_use]
    pub fn count(&self) -> usize {
        self.taken().all
    }

    /// Lets nobody in any more, and waits until everybody is gone.
    pub async fn close(&self) {
        self.taken().present = None;
        // Nothing is ever sent: it ends with the last sender.
        while self.gone.recv().await.is_ok() {}
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut taken = self.admission.taken();
        taken.all -= 1;
        let Some(address) = self.address else {
            return;
        };
        if let Some(count) = taken.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

/// What an address counts as. IPv4 within IPv6 is IPv4: a socket that listens on both has it so.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    const HERE: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    const THERE: Option<IpAddr> = Some(IpAddr::V6(Ipv6Addr::LOCALHOST));

    #[test]
    fn one_address_cannot_take_every_place() {
        let admission = Admission::new(3, 2);
        let _first = admission.admit(HERE).unwrap();
        let second = admission.admit(HERE).unwrap();
        assert_eq!(admission.admit(HERE).unwrap_err(), Full::Address);
        let _third = admission.admit(THERE).unwrap();
        assert_eq!(admission.admit(THERE).unwrap_err(), Full::Server);
        assert_eq!(admission.count(), 3);
        drop(second);
        assert_eq!(admission.count(), 2);
        assert!(admission.admit(HERE).is_ok());
    }

    #[test]
    fn nothing_is_kept_of_who_is_gone() {
        let admission = Admission::new(0, 0);
        let permits: Vec<Permit> = (0..100).map(|_| admission.admit(HERE).unwrap()).collect();
        drop(permits);
        let taken = admission.taken();
        assert_eq!((taken.all, taken.by_address.len()), (0, 0));
    }

    #[test]
    fn one_64_is_one_address_and_mapped_ipv4_is_ipv4() {
        for (one, other, is_same) in [
            ("2001:db8:1:2::3", "2001:db8:1:2:ffff:ffff:ffff:ffff", true),
            ("2001:db8:1:2::3", "2001:db8:1:3::3", false),
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ] {
            let admission = Admission::new(0, 1);
            let permit = admission.admit(Some(one.parse().unwrap())).unwrap();
            let second = admission.admit(Some(other.parse().unwrap()));
            assert_eq!(second.is_err(), is_same, "{one} {other}");
            drop((permit, second));
            assert!(admission.taken().by_address.is_empty());
        }
    }

    #[test]
    fn who_has_no_address_counts_only_among_all() {
        let admission = Admission::new(3, 1);
        let permits = [None, None, HERE].map(|address| admission.admit(address).unwrap());
        assert_eq!(admission.admit(None).unwrap_err(), Full::Server);
        drop(permits);
        assert!(admission.admit(HERE).is_ok());
    }

    #[test]
    fn closing_waits_for_everybody_and_lets_nobody_in() {
        let admission = Admission::new(0, 0);
        let permit = admission.admit(HERE).unwrap();
        let mut closing = Box::pin(admission.close());
        assert_eq!(block_on(poll_once(&mut closing)), None);
        assert_eq!(admission.admit(THERE).unwrap_err(), Full::Server);
        drop(permit);
        assert_eq!(block_on(poll_once(&mut closing)), Some(()));
    }
}
