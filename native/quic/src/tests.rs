//! What cannot be reached from JavaScript: a bug in the middle of a connection, and the smallest parts by themselves.
use std::{
    any::Any,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use quinn_proto::{
    Dir, TransportConfig,
    congestion::{Controller, ControllerFactory, NewRenoConfig},
};
use ring::digest::{SHA256, digest};

use crate::{
    cids::{Cids, LOW_STOCK},
    clock::Clock,
    endpoint::{Admission, BadCall, Endpoint},
    probation::Probation,
    records::{ClosedBy, Events, put_datagram, take_datagram},
    setup::{Congestion, Identity, Setup, Transport},
    voice::{Probing, VoiceConfig},
    watch::Watch,
};

const CERTIFICATE: &[u8] = include_bytes!("../fixtures/certificate.der");
const KEY: &[u8] = include_bytes!("../fixtures/key.der");

#[test]
fn a_bug_in_one_connection_takes_that_connection_only() {
    std::panic::set_hook(Box::new(|_| {})); // the panics below are meant
    let armed = Arc::new(AtomicBool::new(false));
    let mut transport = setup(None).transport_config(&Probing::default()).unwrap();
    transport.congestion_controller_factory(Arc::new(Trap { armed: armed.clone() }));
    let mut server = endpoint(setup(Some(identity())), None);
    let mut client = endpoint(setup(None), Some(transport));
    let (first, second) = (connect(&mut client), connect(&mut client));
    exchange(&mut client, &mut server, 0.0);
    assert_eq!(client.population(), (2, 0));

    // The next acknowledgement of the first connection meets the bug; the second has nothing to acknowledge.
    let stream = client.with(first, |connection| connection.open(Dir::Uni)).flatten().unwrap();
    client.with(first, |connection| connection.write(stream, b"hello"));
    armed.store(true, Ordering::Relaxed);
    exchange(&mut client, &mut server, 10.0);
    armed.store(false, Ordering::Relaxed);
    assert_eq!(client.counts().panics, 1);
    assert_eq!(client.population(), (1, 0));
    assert_eq!(last_close(&mut client), Some((first, ClosedBy::Bug as u8)));
    assert!(client.with(first, |_| ()).is_none());

    let stream = client.with(second, |connection| connection.open(Dir::Uni)).flatten().unwrap();
    assert_eq!(client.with(second, |connection| connection.write(stream, b"hello")), Some(Some(5)));
    exchange(&mut client, &mut server, 20.0);
    assert_eq!(client.counts().panics, 1);
}

#[test]
fn a_deadline_is_reached_by_the_time_it_names() {
    let clock = Clock::new();
    for now in [0.0, 0.001, 1.5, 1_234_567.891, 1_800_000_000_000.123] {
        let instant = clock.advance(now).unwrap();
        for nanos in [0, 1, 499, 999, 1_000, 1_234_567] {
            let deadline = instant + Duration::from_nanos(nanos);
            assert!(Clock::advance(&clock, clock.to_ms(deadline)).unwrap() >= deadline);
        }
    }
}

#[test]
fn a_clock_runs_forward_only_and_knows_what_is_no_time() {
    let clock = Clock::new();
    let later = clock.advance(100.0).unwrap();
    assert_eq!(clock.advance(50.0), Some(later));
    for now in [-1.0, f64::NAN, f64::INFINITY, 1e15] {
        assert_eq!(clock.advance(now), None);
    }
}

#[test]
fn datagram_records_come_back_as_they_were_and_never_half() {
    let mut output = [0; 100];
    for to in ["192.0.2.1:3478", "[2001:db8::7]:65535"] {
        let to: SocketAddr = to.parse().unwrap();
        let size = put_datagram(&mut output, to, b"payload").unwrap();
        let mut input = &output[..size];
        assert_eq!(take_datagram(&mut input), Some((to, &b"payload"[..])));
        assert!(input.is_empty());
        for cut in 0..size {
            assert_eq!(take_datagram(&mut &output[..cut]), None);
            assert_eq!(put_datagram(&mut [0; 100][..cut], to, b"payload"), None);
        }
    }
}

#[test]
fn an_address_on_probation_gets_three_times_what_it_sent() {
    let mut probation = Probation::new("192.0.2.1:1".parse().unwrap(), 100);
    assert!(probation.admit(&[0; 250]));
    assert!(!probation.admit(&[1; 100]));
    assert!(!probation.admit(&[2; 10]), "nothing overtakes what waits");
    assert_eq!(probation.take_held(), None);
    probation.receive(20);
    assert_eq!(probation.take_held(), Some(vec![1; 100]));
    assert_eq!(probation.take_held(), Some(vec![2; 10]));
    for _ in 0..100 {
        assert!(!probation.admit(&[3; 1000]));
    }
    assert_eq!(probation.end().len(), 16);
}

#[test]
fn an_endpoint_waits_for_connection_ids_rather_than_make_its_own() {
    let mut server = Endpoint::new(setup(Some(identity()))).unwrap();
    let mut client = endpoint(setup(None), None);
    connect(&mut client);
    let mut flight = [0; 4096];
    let (size, _) = client.drain_transmits(0.0, &mut flight).unwrap();
    assert_eq!(server.handle_datagrams(0.0, &flight[..size]), Ok(0));
    server.add_cids(&[7; 17].repeat(LOW_STOCK - 1));
    assert_eq!(server.handle_datagrams(0.0, &flight[..size]), Ok(0));
    server.add_cids(&[8; 17]);
    assert_eq!(server.handle_datagrams(0.0, &flight[..size]), Ok(size));
    assert_eq!(server.handle_datagrams(0.0, &flight[..size - 1]), Err(BadCall("a datagram record is cut short")));
}

#[test]
fn ids_beyond_the_stock_are_unroutable() {
    use quinn_proto::ConnectionIdGenerator;
    let mut cids = Cids::new(17);
    assert_eq!(cids.generate_cid()[0] >> 5, 0b111);
    cids.add(&[1; 17]);
    assert_eq!(&cids.generate_cid()[..], &[1; 17]);
    assert_eq!(cids.add(&[1; 17].repeat(5000)), 1024);
}

#[test]
fn events_come_in_chunks_that_fit_their_reader() {
    let mut events = Events::default();
    for _ in 0..5 {
        events.datagram(1, &[0; 65_535]);
    }
    let mut output = vec![0; 131_072];
    let mut total = 0;
    loop {
        match events.take(&mut output) {
            0 => break,
            size => total += size,
        }
    }
    assert_eq!(total, 5 * (1 + 4 + 2 + 65_535));
}

#[test]
fn there_is_no_floor_before_a_round_trip_is_known_and_no_window_for_a_probe() {
    let (probing, inner) = (Probing::default(), Arc::new(NewRenoConfig::default()));
    let mut voice = Arc::new(VoiceConfig::new(inner, 10_000_000, probing.clone())).build(Instant::now(), 1200);
    assert_eq!(voice.window(), voice.initial_window());
    probing.set(true);
    assert!(voice.window() > u64::from(u32::MAX) && voice.clone_box().window() > u64::from(u32::MAX));
    probing.set(false);
    let (sent, now) = (Instant::now(), Instant::now() + Duration::from_secs(1));
    voice.on_congestion_event(now, sent, true, 1200);
    assert_eq!(voice.window(), 2 * 1200);
}

#[test]
fn a_talker_who_falls_silent_is_pinged_for_a_while_and_when_heard_again() {
    let zero = Instant::now();
    let at = |ms: u64| zero + Duration::from_millis(ms);
    let mut watch = Watch::new(zero);
    let mut pings = Vec::new();
    let mut run = |watch: &mut Watch, hears: &dyn Fn(u64) -> bool, from: u64, to: u64| {
        for ms in from..to {
            if watch.poll_timeout().is_some_and(|due| due <= at(ms)) && watch.handle_timeout(at(ms)) {
                pings.push(ms);
            }
            if hears(ms) && watch.hear(at(ms)) {
                pings.push(ms);
            }
        }
        std::mem::take(&mut pings)
    };
    // Who says little is left alone, whatever the pauses.
    assert_eq!(run(&mut watch, &|ms| ms % 700 == 0, 0, 20_000), vec![]);
    assert_eq!(run(&mut watch, &|ms| ms % 20 == 0, 20_000, 22_000), vec![]);
    let dark = run(&mut watch, &|_| false, 22_000, 24_900);
    assert!(dark.len() == 5 && dark.windows(2).all(|pair| pair[1] - pair[0] == 500), "{dark:?}");
    assert_eq!(run(&mut watch, &|ms| ms % 20 == 0, 24_900, 26_000), vec![24_900, 24_960, 25_020]);
    let gone = run(&mut watch, &|_| false, 26_000, 90_000);
    assert!(gone.len() < 20 && *gone.last().unwrap() < 36_000, "{gone:?}");
    // The acknowledgements of pings alone do not keep it going.
    assert_eq!(watch.poll_timeout(), None);
    assert_eq!(run(&mut watch, &|ms| ms == 90_000 || ms == 90_900, 90_000, 99_000), vec![90_000, 90_900]);
}

/// A congestion controller with a bug.
struct Trap {
    armed: Arc<AtomicBool>,
}

impl ControllerFactory for Trap {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        let inner = Arc::new(NewRenoConfig::default()).build(now, current_mtu);
        Box::new(Trapped { inner, armed: self.armed.clone() })
    }
}

struct Trapped {
    inner: Box<dyn Controller>,
    armed: Arc<AtomicBool>,
}

impl Controller for Trapped {
    fn on_ack(
        &mut self,
        _now: Instant,
        _sent: Instant,
        _bytes: u64,
        _app_limited: bool,
        _rtt: &quinn_proto::RttEstimator,
    ) {
        assert!(!self.armed.load(Ordering::Relaxed), "a bug");
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent_congestion: bool, lost_bytes: u64) {
        self.inner.on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.inner.window()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Trapped { inner: self.inner.clone_box(), armed: self.armed.clone() })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

fn identity() -> Identity {
    Identity { chain: vec![CERTIFICATE.to_vec()], key: KEY.to_vec() }
}

fn setup(identity: Option<Identity>) -> Setup {
    Setup {
        cid_length: 17,
        transport: Transport {
            idle_timeout_ms: 30_000,
            handshake_timeout_ms: 10_000,
            keep_alive_ms: 0,
            max_bidirectional_streams: 8,
            max_unidirectional_streams: 8,
            stream_receive_window: 65_536,
            receive_window: 65_536,
            send_window: 65_536,
            datagram_receive_buffer: 65_536,
            datagram_send_buffer: 65_536,
            max_udp_payload: 1200,
            congestion: Congestion::NewReno,
            floor_bits_per_second: 0,
            initial_rtt_ms: 333,
        },
        alpn: vec![b"h3".to_vec()],
        secret: [1; 32],
        identity,
        max_connections: 10,
    }
}

fn endpoint(setup: Setup, transport: Option<TransportConfig>) -> Endpoint {
    let probing = Probing::default();
    let transport = transport.unwrap_or_else(|| setup.transport_config(&probing).unwrap());
    let side = u8::from(setup.identity.is_some());
    let mut endpoint = Endpoint::with_transport(setup, transport, probing).unwrap();
    for number in 0..=255 {
        endpoint.add_cids(&[[side; 16].as_slice(), &[number]].concat());
    }
    endpoint
}

fn connect(client: &mut Endpoint) -> u32 {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, CERTIFICATE).as_ref());
    client.connect(0.0, "192.0.2.1:443".parse().unwrap(), "localhost", vec![hash]).unwrap()
}

/// Carries datagrams at once until none is left.
fn exchange(client: &mut Endpoint, server: &mut Endpoint, now: f64) {
    let mut output = vec![0; 65_536];
    let mut events = vec![0; 131_072];
    for _ in 0..20 {
        for is_up in [true, false] {
            let (from, to) = if is_up { (&mut *client, &mut *server) } else { (&mut *server, &mut *client) };
            let (size, _) = from.drain_transmits(now, &mut output).unwrap();
            to.handle_datagrams(now, &output[..size]).unwrap();
            for incoming in 1..4 {
                to.decide(now, incoming, Admission::Accept).unwrap();
            }
        }
        while server.take_events(&mut events) > 0 {}
    }
}

/// The `closed` event at the end of what waits: connection and who closed it.
fn last_close(endpoint: &mut Endpoint) -> Option<(u32, u8)> {
    let mut events = vec![0; 131_072];
    let size = endpoint.take_events(&mut events);
    // kind, connection, by, code, text
    let reason = "a bug in the QUIC engine";
    let record = events[..size].strip_suffix(reason.as_bytes())?;
    let record = &record[record.len() - 16..];
    assert_eq!(record[0], 12);
    Some((u32::from_le_bytes(record[1..5].try_into().unwrap()), record[5]))
}
