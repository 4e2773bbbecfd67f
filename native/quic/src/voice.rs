//! Congestion control for a conversation: quinn's own, with a floor at what a voice needs.
//!
//! A loss-based controller takes every loss for a full queue. At 20 % of random loss CUBIC is left with two packets a round
//! trip; when both are lost nothing comes before a probe timeout, which doubles each time. A voice is far below a fair share
//! of any path that carries calls, so its window does not fall below the floor as long as nothing says that the path is full:
//!
//! - The smoothed round trip shows a queue: no floor. A narrow link is filled by nobody but the controller inside.
//! - More than a third is lost, round after round: the floor halves each time, and doubles as slowly.
//! - Persistent congestion (RFC 9002, section 7.6): no floor until as much as the floor was delivered again.
//! - Nothing was ever lost: there is nothing to protect the window from.
//!
//! And it does not fill a queue to find out how long that is: at 40 kbit/s ten packets are two seconds of all that the path
//! carries. It begins with four, and beyond what a voice needs at its least it grows only while the smallest of the last
//! round trips shows no queue, as HyStart has it (RFC 9406), and also later than in slow start.
//!
//! So at 20 % of loss and 100 ms the floor allows about 5 times what TFRC would (RFC 5348), half of what trips the circuit
//! breaker for RTP (RFC 8083, section 4.3), and of that a conversation uses what its agent says.
use std::{
    any::Any,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use quinn_proto::{
    RttEstimator,
    congestion::{Controller, ControllerFactory, ControllerMetrics},
};

/// Packets on top of the rate: what a burst of speech may be ahead of it.
const BURST_PACKETS: u64 = 4;
/// Packets that a connection begins with.
pub const START_PACKETS: u64 = 4;
/// A window grows to them whatever the round trips show, or to what this rate takes, a voice at its least with what belongs to
/// it: the queue may be that of the other direction.
const LEAST_BYTES_PER_SECOND: u128 = 32_000 / 8;
/// Of the smallest round trip, and beyond it: a smoothed one that is longer shows a queue. Jitter and delayed
/// acknowledgements stay below.
const QUEUE_SHARE: u32 = 4;
const QUEUE_MARGIN: Duration = Duration::from_millis(25);
/// A round that judges the share of losses.
const ROUND_RTTS: u32 = 8;
const ROUND_PACKETS: u64 = 16;
/// Beyond one in so many lost it is no lossy path any more but one that is too small.
const BAD_ROUND: u64 = 3;
/// Halved this often, no floor is left.
const MAX_HALVINGS: u32 = 4;

/// While it is raised no window holds anything back: probes are not subject to congestion control (RFC 9002, section 7.5).
/// One for all connections of an endpoint, which sends for one at a time.
#[derive(Clone, Default)]
pub struct Probing(Arc<AtomicBool>);

impl Probing {
    /// Raises or lowers it.
    pub fn set(&self, is_raised: bool) {
        self.0.store(is_raised, Ordering::Relaxed);
    }
}

/// quinn does not pace what has a larger window than 32 bits.
const UNBOUNDED: u64 = 1 << 40;

/// Builds quinn's controller with a floor under it.
pub struct VoiceConfig {
    inner: Arc<dyn ControllerFactory + Send + Sync>,
    bytes_per_second: u64,
    probing: Probing,
}

impl VoiceConfig {
    /// A floor of `bits_per_second`, 0 for none, under what `inner` builds.
    pub fn new(inner: Arc<dyn ControllerFactory + Send + Sync>, bits_per_second: u32, probing: Probing) -> Self {
        Self { inner, bytes_per_second: u64::from(bits_per_second) / 8, probing }
    }
}

impl ControllerFactory for VoiceConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Voice {
            inner: self.inner.clone().build(now, current_mtu),
            bytes_per_second: self.bytes_per_second,
            mtu: u64::from(current_mtu),
            rtt: None,
            latest: Latest { at: now, rtt: Duration::ZERO, count: 0 },
            recent: Recent { began: now, before: Duration::ZERO, current: Duration::ZERO },
            has_lost: false,
            healing: 0,
            halvings: 0,
            round: Round::new(now),
            probing: self.probing.clone(),
        })
    }
}

/// A controller and its floor.
struct Voice {
    inner: Box<dyn Controller>,
    bytes_per_second: u64,
    mtu: u64,
    /// The smallest round trip and the smoothed one.
    rtt: Option<(Duration, Duration)>,
    latest: Latest,
    recent: Recent,
    /// Something was lost once.
    has_lost: bool,
    /// Bytes that must be delivered before there is a floor again.
    healing: u64,
    halvings: u32,
    round: Round,
    probing: Probing,
}

/// The round trip that was seen last, the smallest of those at one moment: what others took on top is that they waited for an
/// acknowledgement that came at last.
#[derive(Clone, Copy)]
struct Latest {
    at: Instant,
    rtt: Duration,
    /// Moments that showed one.
    count: u64,
}

impl Latest {
    fn see(&mut self, now: Instant, rtt: Duration) {
        let is_same = self.count > 0 && self.at == now;
        *self = Self {
            at: now,
            rtt: if is_same { self.rtt.min(rtt) } else { rtt },
            count: if is_same { self.count } else { self.count + 1 },
        };
    }
}

/// The round trip that `controller`, one of ours, saw last, the peer's delay of acknowledgements included; and how many it saw.
pub fn latest_round_trip(controller: &dyn Controller) -> Option<(Duration, u64)> {
    let voice = controller.clone_box().into_any().downcast::<Voice>().ok()?;
    Some((voice.latest.rtt, voice.latest.count))
}

/// What was lost and delivered for a while.
#[derive(Clone, Copy)]
struct Round {
    began: Instant,
    lost: u64,
    delivered: u64,
}

impl Round {
    fn new(began: Instant) -> Self {
        Self { began, lost: 0, delivered: 0 }
    }
}

/// The smallest round trip of this one and the one before: where acknowledgements are lost some look long, but not all.
#[derive(Clone, Copy)]
struct Recent {
    began: Instant,
    before: Duration,
    current: Duration,
}

impl Recent {
    fn see(&mut self, now: Instant, rtt: Duration, round: Duration) {
        if now.saturating_duration_since(self.began) < round {
            self.current = self.current.min(rtt);
        } else {
            *self = Self { began: now, before: self.current, current: rtt };
        }
    }

    fn smallest(&self) -> Duration {
        self.before.min(self.current)
    }
}

/// A round trip that is longer than this shows a queue on a path whose shortest is `min`.
fn with_margin(min: Duration) -> Duration {
    min + min / QUEUE_SHARE + QUEUE_MARGIN
}

impl Voice {
    /// Bytes that may be in flight whatever the controller inside says.
    fn floor(&self) -> u64 {
        match self.rtt {
            Some((min, _)) if self.has_lost && self.healing == 0 && !self.shows_queue() => {
                self.whole_floor(min) >> self.halvings
            }
            _ => 0,
        }
    }

    /// Whether round trips take longer than the path does.
    fn shows_queue(&self) -> bool {
        self.rtt.is_some_and(|(min, smoothed)| smoothed > with_margin(min))
    }

    fn whole_floor(&self, min_rtt: Duration) -> u64 {
        if self.bytes_per_second == 0 {
            return 0;
        }
        let rate = u128::from(self.bytes_per_second) * min_rtt.as_micros() / 1_000_000;
        rate as u64 + BURST_PACKETS * self.mtu
    }

    /// Ends a round that is long enough, and draws the lesson from it.
    fn judge(&mut self, now: Instant) {
        let Some((min, _)) = self.rtt else {
            return;
        };
        let Round { began, lost, delivered } = self.round;
        let all = lost + delivered;
        if now.saturating_duration_since(began) < min * ROUND_RTTS || all < ROUND_PACKETS * self.mtu / 2 {
            return;
        }
        self.round = Round::new(now);
        self.halvings = if lost * BAD_ROUND > all {
            (self.halvings + 1).min(MAX_HALVINGS)
        } else {
            self.halvings.saturating_sub(1)
        };
    }
}

impl Controller for Voice {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.rtt = Some((rtt.min(), rtt.get()));
        self.latest.see(now, now.saturating_duration_since(sent));
        self.healing = self.healing.saturating_sub(bytes);
        self.round.delivered += bytes;
        self.judge(now);
        let least = (LEAST_BYTES_PER_SECOND * rtt.get().as_millis() / 1000) as u64;
        let is_enough = self.inner.window() >= least.max(START_PACKETS * self.mtu);
        self.recent.see(now, now.saturating_duration_since(sent), rtt.get());
        let fills = self.bytes_per_second > 0 && is_enough && self.recent.smallest() > with_margin(rtt.min());
        // A window that was not used does not grow (RFC 9002, section 7.8).
        self.inner.on_ack(now, sent, bytes, app_limited || fills, rtt);
    }

    fn on_end_acks(&mut self, now: Instant, in_flight: u64, app_limited: bool, largest_packet_num_acked: Option<u64>) {
        self.inner.on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.has_lost = true;
        self.round.lost += lost_bytes;
        self.judge(now);
        if is_persistent_congestion && let Some((min, _)) = self.rtt {
            self.healing = self.whole_floor(min);
        }
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.mtu = u64::from(new_mtu);
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        if self.probing.0.load(Ordering::Relaxed) {
            return UNBOUNDED;
        }
        self.inner.window().max(self.floor())
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.inner.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Self { inner: self.inner.clone_box(), probing: self.probing.clone(), ..*self })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
