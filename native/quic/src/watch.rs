//! When to ping a peer who talked and fell silent: there is no path, or there is one again.
//!
//! Probe timeouts double (RFC 9002, section 6.2.1), so after 3 s without a path the next probe may be 3 s away when the path
//! is back. A peer who talks sends something every 20 ms, which tells us more than our own timer knows. While one is silent it
//! is pinged twice a second for a while, within what RFC 8085 (section 3.1.1) allows those who send little; and the first
//! that is heard again is answered with pings. What those acknowledge tells quinn what was lost.
use std::time::{Duration, Instant};

/// Datagrams that come closer together than this are talk, and so many in a row make a talker.
const CLOSE: Duration = Duration::from_millis(100);
const TALK: u32 = 20;
/// A talker is never silent for that long.
const SILENCE: Duration = Duration::from_millis(400);
/// Between two pings into the silence, and until when they go.
const PING_EVERY: Duration = Duration::from_millis(500);
const GIVE_UP: Duration = Duration::from_secs(10);
/// Pings to one who is heard again, for any may be lost, and what passes between them at least.
const WAKE_PINGS: u32 = 3;
const WAKE_EVERY: Duration = Duration::from_millis(50);

/// What a connection remembers of its peer's talking.
pub struct Watch {
    heard_at: Instant,
    pinged_at: Instant,
    /// Datagrams in a row.
    row: u32,
    /// Pings that the end of a silence still asks for.
    wakes: u32,
    deadline: Option<Instant>,
}

impl Watch {
    /// Nobody talked yet.
    pub fn new(now: Instant) -> Self {
        Self { heard_at: now, pinged_at: now, row: 0, wakes: 0, deadline: None }
    }

    /// A datagram came. True: ping.
    pub fn hear(&mut self, now: Instant) -> bool {
        let gap = now.saturating_duration_since(self.heard_at);
        self.heard_at = now;
        if gap < CLOSE {
            self.row = self.row.saturating_add(1);
        } else {
            if gap >= SILENCE && self.row >= TALK {
                self.wakes = WAKE_PINGS;
            }
            self.row = 0;
        }
        if self.row == TALK && self.deadline.is_none() {
            self.deadline = Some(now + PING_EVERY);
        }
        if self.wakes == 0 || (self.wakes < WAKE_PINGS && now.saturating_duration_since(self.pinged_at) < WAKE_EVERY) {
            return false;
        }
        self.wakes -= 1;
        self.pinged_at = now;
        true
    }

    /// When `handle_timeout` is due. It is not moved by each datagram.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    /// True: ping.
    pub fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return false;
        }
        let silence = now.saturating_duration_since(self.heard_at);
        let is_silent = silence >= SILENCE;
        self.deadline = match (self.row >= TALK && silence < GIVE_UP, is_silent) {
            (false, _) => None,
            (true, true) => Some(now + PING_EVERY),
            (true, false) => Some(self.heard_at + PING_EVERY),
        };
        is_silent && self.deadline.is_some()
    }
}
