//! Who may be connected at once, and who has to go when somebody else wants in.
//!
//! A class (root, all others) has so many seats. A client that keeps the server waiting, because it sends no call or takes
//! no bytes, gives its seat up to the next one who knocks; a client that the server keeps waiting never does. So any
//! number of silent clients keep nobody out.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

/// A client may keep the server waiting for so long before its seat can go to another: an honest one that has just
/// connected sends its call within this.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// The seats of a class.
#[derive(Clone, Debug)]
pub(super) struct Seats(Arc<Mutex<Taken>>);

#[derive(Debug)]
struct Taken {
    free: usize,
    /// Seats that a follower may take: it waits for news and not for its client, hence is never made to go.
    free_following: usize,
    next: u64,
    seats: BTreeMap<u64, Occupant>,
}

#[derive(Debug)]
struct Occupant {
    /// Since when the server waits for this client; `None` while the client waits for the server.
    kept_waiting_since: Option<Instant>,
    following: bool,
    go: Arc<Notify>,
}

/// A taken seat, given back on drop.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    number: u64,
    go: Arc<Notify>,
}

impl Seats {
    /// So many seats, so many of them also for followers.
    pub(super) fn new(seats: usize, following: usize) -> Self {
        let taken = Taken { free: seats, free_following: following, next: 0, seats: BTreeMap::new() };
        Self(Arc::new(Mutex::new(taken)))
    }

    /// A seat for a client that has just connected: a free one, or that of the client which has kept the server waiting
    /// for longest, and for longer than [`PATIENCE`].
    pub(super) fn take(&self, now: Instant) -> Option<Seat> {
        let mut taken = self.lock();
        if taken.free == 0 {
            let waits = |(number, known): (&u64, &Occupant)| Some((known.kept_waiting_since?, *number));
            let (since, longest) = taken.seats.iter().filter_map(waits).min()?;
            if now.saturating_duration_since(since) < PATIENCE {
                return None;
            }
            taken.leave(longest);
        }
        taken.free -= 1;
        let number = taken.next;
        taken.next += 1;
        let go = Arc::new(Notify::new());
        let occupant = Occupant { kept_waiting_since: Some(now), following: false, go: Arc::clone(&go) };
        taken.seats.insert(number, occupant);
        drop(taken);
        Some(Seat { seats: self.clone(), number, go })
    }

    /// A panic of another holder leaves data that are whole after every statement.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn leave(&mut self, number: u64) {
        // Who was made to go has left already.
        if let Some(left) = self.seats.remove(&number) {
            self.free += 1;
            self.free_following += usize::from(left.following);
            // Stored until it is waited for, should that be later.
            left.go.notify_one();
        }
    }
}

impl Seat {
    /// From now on the server waits for the client (`true`), or the client for the server.
    pub(super) fn client_is_awaited(&self, awaited: bool) {
        let since = awaited.then(Instant::now);
        if let Some(occupant) = self.seats.lock().seats.get_mut(&self.number) {
            occupant.kept_waiting_since = since;
        }
    }

    /// Whether this client may follow; it then does until it goes.
    pub(super) fn follow(&self) -> bool {
        let mut taken = self.seats.lock();
        let Taken { free_following, seats, .. } = &mut *taken;
        match seats.get_mut(&self.number) {
            Some(occupant) if occupant.following => true,
            Some(occupant) if *free_following > 0 => {
                *free_following -= 1;
                occupant.following = true;
                true
            }
            Some(_) | None => false,
        }
    }

    /// Resolves once somebody else has the seat.
    pub(super) async fn taken_away(&self) {
        self.go.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn later(now: Instant) -> Instant {
        now + PATIENCE
    }

    #[test]
    fn a_silent_client_makes_room_after_a_while_and_not_before() {
        let seats = Seats::new(2, 1);
        let now = Instant::now();
        let (first, second) = (seats.take(now).unwrap(), seats.take(now).unwrap());
        assert!(seats.take(later(now).checked_sub(Duration::from_millis(1)).unwrap()).is_none());
        let third = seats.take(later(now)).expect("the first has been silent for long enough");
        assert!(!seats.lock().seats.contains_key(&first.number));
        assert!(seats.lock().seats.contains_key(&second.number));
        drop((first, second, third));
        let taken = seats.lock();
        assert_eq!((taken.free, taken.free_following), (2, 1));
    }

    #[test]
    fn who_waits_for_the_server_keeps_the_seat() {
        let seats = Seats::new(1, 1);
        let now = Instant::now();
        let seat = seats.take(now).unwrap();
        seat.client_is_awaited(false);
        assert!(seats.take(later(later(now))).is_none());
        seat.client_is_awaited(true);
        assert!(seats.take(later(Instant::now())).is_some());
    }

    #[test]
    fn only_some_seats_are_for_followers() {
        let seats = Seats::new(3, 1);
        let now = Instant::now();
        let (first, second) = (seats.take(now).unwrap(), seats.take(now).unwrap());
        assert!(first.follow() && first.follow(), "once is for ever");
        assert!(!second.follow());
        drop(first);
        assert!(second.follow());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_has_to_go_is_told() {
        let seats = Seats::new(1, 1);
        let now = Instant::now();
        let first = seats.take(now).unwrap();
        let _second = seats.take(later(now)).unwrap();
        first.taken_away().await;
    }
}
