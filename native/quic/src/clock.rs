//! Milliseconds of the caller's clock as the types that quinn counts in.
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use quinn_proto::TimeSource;

/// About 278 years: beyond it an `Instant` could overflow.
const MAX_MS: f64 = (1u64 << 43) as f64;

/// Counts microseconds since the caller's zero, which is a fixed `Instant`; never runs backwards.
#[derive(Clone)]
pub struct Clock {
    zero: Instant,
    now_us: Arc<AtomicU64>,
}

impl Clock {
    /// A clock at the caller's zero.
    pub fn new() -> Self {
        Self { zero: Instant::now(), now_us: Arc::new(AtomicU64::new(0)) }
    }

    /// Moves to `now_ms` and gives it; an earlier time counts as the latest one. `None`: not a time.
    pub fn advance(&self, now_ms: f64) -> Option<Instant> {
        if !(0.0..MAX_MS).contains(&now_ms) {
            return None;
        }
        let us = (now_ms * 1000.0).round() as u64;
        let latest = self.now_us.fetch_max(us, Ordering::Relaxed).max(us);
        Some(self.zero + Duration::from_micros(latest))
    }

    /// The caller's milliseconds of `instant`, rounded up so that `advance` of them reaches it.
    pub fn to_ms(&self, instant: Instant) -> f64 {
        let since = instant.saturating_duration_since(self.zero);
        let us = since.as_nanos().div_ceil(1000) as u64;
        us as f64 / 1000.0
    }
}

/// Retry tokens expire by the caller's clock too.
impl TimeSource for Clock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.now_us.load(Ordering::Relaxed))
    }
}
