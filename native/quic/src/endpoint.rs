//! Many connections behind one port: datagrams and times in; datagrams, events and the next deadline out.
use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use quinn_proto::{
    ClientConfig, ConnectionHandle, DatagramEvent, Endpoint as Proto, EndpointEvent, Incoming, NoneTokenStore,
    TransportConfig,
};

use crate::{
    cids::Cids,
    clock::Clock,
    connection::{Connection, explain},
    records::{ClosedBy, DATAGRAM_OVERHEAD, Events, put_datagram, take_datagram},
    setup::{Identity, Setup},
    tls,
    voice::Probing,
};

/// Answers without a connection (version negotiation, Retry, refusals, resets) that wait to be taken.
const MAX_RESPONSES: usize = 4096;
/// Nothing that we send is longer.
const MAX_SENT_PAYLOAD: usize = 1500;

/// What is to happen with a client's first Initial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Admission {
    Accept,
    Retry,
    Refuse,
    Ignore,
}

/// Counters since the start.
#[derive(Debug, Default, Clone, Copy)]
#[allow(missing_docs)]
pub struct Counts {
    pub accepted: u64,
    pub retried: u64,
    pub refused: u64,
    pub ignored: u64,
    pub stray: u64,
    pub panics: u64,
}

/// `now` was not a time, or a record was cut short: the caller has a bug.
#[derive(Debug, PartialEq, Eq)]
pub struct BadCall(pub &'static str);

const BAD_TIME: BadCall = BadCall("now is not a time in milliseconds");

/// The endpoint.
pub struct Endpoint {
    setup: Setup,
    transport: Arc<TransportConfig>,
    probing: Probing,
    clock: Clock,
    cids: Cids,
    proto: Proto,
    connections: HashMap<u32, Connection>,
    numbers: HashMap<ConnectionHandle, u32>,
    next_number: u32,
    /// With the sizes of their datagrams.
    incoming: HashMap<u32, (Incoming, usize)>,
    next_incoming: u32,
    timers: BTreeSet<(Instant, u32)>,
    dirty: VecDeque<u32>,
    touched: Vec<u32>,
    responses: VecDeque<(SocketAddr, Vec<u8>)>,
    events: Events,
    buffer: Vec<u8>,
    counts: Counts,
    handshaking: usize,
}

impl Endpoint {
    /// An endpoint, or why the settings are unusable.
    pub fn new(setup: Setup) -> Result<Self, String> {
        let probing = Probing::default();
        let transport = setup.transport_config(&probing)?;
        Self::with_transport(setup, transport, probing)
    }

    pub(crate) fn with_transport(setup: Setup, transport: TransportConfig, probing: Probing) -> Result<Self, String> {
        let (clock, cids, transport) = (Clock::new(), Cids::new(setup.cid_length), Arc::new(transport));
        let server = match &setup.identity {
            Some(identity) => Some(Arc::new(setup.server_config(identity, transport.clone(), &clock)?)),
            None => None,
        };
        let proto = Proto::new(Arc::new(setup.endpoint_config(&cids)?), server, false, None);
        Ok(Self {
            setup,
            transport,
            probing,
            clock,
            cids,
            proto,
            connections: HashMap::new(),
            numbers: HashMap::new(),
            next_number: 1,
            incoming: HashMap::new(),
            next_incoming: 1,
            timers: BTreeSet::new(),
            dirty: VecDeque::new(),
            touched: Vec::new(),
            responses: VecDeque::new(),
            events: Events::default(),
            buffer: Vec::with_capacity(2048),
            counts: Counts::default(),
            handshaking: 0,
        })
    }

    /// Shows `identity` to those who come from now on.
    pub fn set_identity(&mut self, identity: &Identity) -> Result<(), String> {
        if self.setup.identity.is_none() {
            return Err("this endpoint accepts no connections".into());
        }
        let config = self.setup.server_config(identity, self.transport.clone(), &self.clock)?;
        self.proto.set_server_config(Some(Arc::new(config)));
        Ok(())
    }

    /// Adds connection IDs to the stock and gives its size.
    pub fn add_cids(&mut self, packed: &[u8]) -> usize {
        self.cids.add(packed)
    }

    /// Takes datagrams off `input` and gives how many bytes it took: fewer than all when connection IDs ran low.
    pub fn handle_datagrams(&mut self, now_ms: f64, mut input: &[u8]) -> Result<usize, BadCall> {
        let now = self.clock.advance(now_ms).ok_or(BAD_TIME)?;
        let all = input.len();
        while !input.is_empty() && !self.cids.are_low() {
            let Some((from, payload)) = take_datagram(&mut input) else {
                return Err(BadCall("a datagram record is cut short"));
            };
            self.handle_datagram(now, from, payload);
        }
        self.poll_touched();
        Ok(all - input.len())
    }

    fn handle_datagram(&mut self, now: Instant, from: SocketAddr, payload: &[u8]) {
        self.buffer.clear();
        let (proto, buffer) = (&mut self.proto, &mut self.buffer);
        let handled =
            catch_unwind(AssertUnwindSafe(|| proto.handle(now, from, None, None, BytesMut::from(payload), buffer)));
        match handled {
            Ok(Some(DatagramEvent::ConnectionEvent(handle, event))) => {
                if let Some(&number) = self.numbers.get(&handle) {
                    self.with(number, |connection| connection.handle(now, from, payload.len(), event));
                    self.poll_endpoint_events(number);
                    self.mark(number);
                }
            }
            Ok(Some(DatagramEvent::NewConnection(incoming))) => self.handle_incoming(incoming, payload.len()),
            Ok(Some(DatagramEvent::Response(response))) => {
                self.counts.stray += 1;
                self.respond(response.destination);
            }
            Ok(None) => self.counts.stray += 1,
            Err(_) => self.counts.panics += 1,
        }
    }

    fn handle_incoming(&mut self, incoming: Incoming, size: usize) {
        if self.connections.len() + self.incoming.len() >= self.setup.max_connections {
            self.settle(incoming, size, Admission::Refuse, None);
            return;
        }
        let number = self.next_incoming;
        self.next_incoming = number.wrapping_add(1);
        let (from, validated) = (incoming.remote_address(), incoming.remote_address_validated());
        self.events.incoming(number, from, validated, incoming.orig_dst_cid());
        self.incoming.insert(number, (incoming, size));
    }

    /// Does with an Initial what was decided. False: connection IDs are low, so nothing was done yet.
    pub fn decide(&mut self, now_ms: f64, incoming: u32, admission: Admission) -> Result<bool, BadCall> {
        let now = self.clock.advance(now_ms).ok_or(BAD_TIME)?;
        if self.cids.are_low() {
            return Ok(false);
        }
        if let Some((incoming, size)) = self.incoming.remove(&incoming) {
            self.settle(incoming, size, admission, Some(now));
            self.poll_touched();
        }
        Ok(true)
    }

    fn settle(&mut self, incoming: Incoming, size: usize, admission: Admission, now: Option<Instant>) {
        self.buffer.clear();
        let remote = incoming.remote_address();
        match (admission, now) {
            (Admission::Accept, Some(now)) => self.accept(now, incoming, size),
            (Admission::Retry, Some(now)) => match self.proto.retry(incoming, &mut self.buffer) {
                Ok(response) => {
                    self.counts.retried += 1;
                    self.respond(response.destination);
                }
                Err(error) => self.accept(now, error.into_incoming(), size),
            },
            (Admission::Ignore, _) => {
                self.counts.ignored += 1;
                self.proto.ignore(incoming);
            }
            _ => {
                self.counts.refused += 1;
                let response = self.proto.refuse(incoming, &mut self.buffer);
                self.respond(response.destination);
                self.events.handshake_failed(remote, "refused");
            }
        }
    }

    fn accept(&mut self, now: Instant, incoming: Incoming, size: usize) {
        let remote = incoming.remote_address();
        let received = (!incoming.remote_address_validated()).then_some(size);
        let (proto, buffer) = (&mut self.proto, &mut self.buffer);
        match catch_unwind(AssertUnwindSafe(|| proto.accept(incoming, now, buffer, None).map_err(Box::new))) {
            Ok(Ok((handle, connection))) => {
                self.counts.accepted += 1;
                self.insert(now, handle, connection, received);
            }
            Ok(Err(error)) => {
                let (_, _, reason) = explain(error.cause);
                self.events.handshake_failed(remote, &reason);
                if let Some(response) = error.response {
                    self.respond(response.destination);
                }
            }
            Err(_) => self.counts.panics += 1,
        }
    }

    fn insert(
        &mut self,
        now: Instant,
        handle: ConnectionHandle,
        proto: quinn_proto::Connection,
        received: Option<usize>,
    ) -> u32 {
        let number = self.next_number;
        self.next_number += 1;
        self.handshaking += 1;
        let deadline = now + Duration::from_millis(self.setup.transport.handshake_timeout_ms.into());
        self.connections.insert(number, Connection::new(now, number, handle, proto, deadline, received));
        self.numbers.insert(handle, number);
        self.poll_endpoint_events(number);
        self.mark(number);
        number
    }

    fn respond(&mut self, to: SocketAddr) {
        if self.responses.len() < MAX_RESPONSES {
            self.responses.push_back((to, self.buffer.clone()));
        }
    }

    /// Begins a handshake with whoever shows a certificate of one of `hashes`.
    pub fn connect(
        &mut self,
        now_ms: f64,
        remote: SocketAddr,
        server_name: &str,
        hashes: Vec<[u8; 32]>,
    ) -> Result<u32, String> {
        let now = self.clock.advance(now_ms).ok_or(BAD_TIME.0)?;
        let tls = tls::client_config(hashes, &self.setup.alpn)?;
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(self.transport.clone()).token_store(Arc::new(NoneTokenStore));
        let (handle, connection) =
            self.proto.connect(now, config, remote, server_name).map_err(|error| error.to_string())?;
        let number = self.insert(now, handle, connection, None);
        self.poll_touched();
        Ok(number)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now_ms: f64) -> Result<(), BadCall> {
        let now = self.clock.advance(now_ms).ok_or(BAD_TIME)?;
        while let Some(&(deadline, number)) = self.timers.first() {
            if deadline > now {
                break;
            }
            self.timers.pop_first();
            let late = self.with(number, |connection| {
                connection.deadline = None;
                connection.handle_timeout(now);
                connection.handshake_deadline.is_some_and(|deadline| deadline <= now)
            });
            self.poll_endpoint_events(number);
            self.mark(number);
            if late == Some(true) {
                self.drop_late(number);
            }
        }
        self.poll_touched();
        Ok(())
    }

    /// A handshake that takes too long may be a spoofer's, so its address hears nothing.
    fn drop_late(&mut self, number: u32) {
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.poll_events(&mut self.events);
            connection.end(ClosedBy::Timeout, 0, "the handshake took too long", &mut self.events);
            if !connection.is_drained {
                connection.is_drained = true;
                self.proto.handle_event(connection.handle, EndpointEvent::drained());
            }
        }
    }

    /// When something is due, in the caller's milliseconds.
    pub fn poll_timeout(&self) -> Option<f64> {
        self.timers.first().map(|&(deadline, _)| self.clock.to_ms(deadline))
    }

    /// Moves events into `output`; 0 bytes: there are none.
    pub fn take_events(&mut self, output: &mut [u8]) -> usize {
        self.events.take(output)
    }

    /// Writes datagrams into `output` and gives how many bytes; true: there are more.
    pub fn drain_transmits(&mut self, now_ms: f64, output: &mut [u8]) -> Result<(usize, bool), BadCall> {
        let now = self.clock.advance(now_ms).ok_or(BAD_TIME)?;
        let mut size = 0;
        while let Some((to, payload)) = self.responses.front() {
            match put_datagram(&mut output[size..], *to, payload) {
                Some(written) => size += written,
                None if size > 0 => return Ok((size, true)),
                None => {} // larger than any buffer: cannot be sent
            }
            self.responses.pop_front();
        }
        while let Some(&number) = self.dirty.front() {
            loop {
                if output.len() - size < MAX_SENT_PAYLOAD + DATAGRAM_OVERHEAD {
                    return Ok((size, true));
                }
                let mut buffer = std::mem::take(&mut self.buffer);
                buffer.clear();
                let probing = self.probing.clone();
                let transmit = self.with(number, |connection| connection.poll_transmit(now, &mut buffer, &probing));
                self.buffer = buffer;
                let Some(Some(to)) = transmit else {
                    break;
                };
                size += put_datagram(&mut output[size..], to, &self.buffer).unwrap_or(0);
            }
            self.dirty.pop_front();
            self.poll_endpoint_events(number);
            self.rest(number);
        }
        Ok((size, false))
    }

    /// After everything was sent: sets the timer anew, or forgets the connection.
    fn rest(&mut self, number: u32) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        connection.is_dirty = false;
        connection.poll_events(&mut self.events);
        self.handshaking -= usize::from(connection.leave_handshake());
        if connection.is_drained {
            self.remove(number);
            return;
        }
        let deadline = connection.next_timeout();
        if deadline != connection.deadline {
            if let Some(old) = connection.deadline {
                self.timers.remove(&(old, number));
            }
            if let Some(new) = deadline {
                self.timers.insert((new, number));
            }
            connection.deadline = deadline;
        }
    }

    /// Lets `work` use a connection; what it does may need to be sent. `None`: there is none, or the connection fell to a bug.
    pub fn with<T>(&mut self, number: u32, work: impl FnOnce(&mut Connection) -> T) -> Option<T> {
        let connection = self.connections.get_mut(&number)?;
        if !connection.is_dirty {
            connection.is_dirty = true;
            self.dirty.push_back(number);
        }
        match catch_unwind(AssertUnwindSafe(|| work(connection))) {
            Ok(result) => Some(result),
            Err(_) => {
                self.counts.panics += 1;
                connection.end(ClosedBy::Bug, 0, "a bug in the QUIC engine", &mut self.events);
                if !connection.is_drained {
                    self.proto.handle_event(connection.handle, EndpointEvent::drained());
                }
                self.remove(number);
                None
            }
        }
    }

    /// Closes a connection; false: it was closed.
    pub fn close(
        &mut self,
        now_ms: f64,
        number: u32,
        code: quinn_proto::VarInt,
        reason: &str,
    ) -> Result<bool, BadCall> {
        let now = self.clock.advance(now_ms).ok_or(BAD_TIME)?;
        let mut events = std::mem::take(&mut self.events);
        let closed = self.with(number, |connection| connection.close(now, code, reason, &mut events));
        self.events = events;
        Ok(closed == Some(true))
    }

    /// A look at a connection.
    pub fn connection(&self, number: u32) -> Option<&Connection> {
        self.connections.get(&number)
    }

    /// Connections, and those of them that shake hands.
    pub fn population(&self) -> (usize, usize) {
        (self.connections.len(), self.handshaking)
    }

    /// Counters.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn mark(&mut self, number: u32) {
        if let Some(connection) = self.connections.get_mut(&number) {
            if !connection.is_touched {
                connection.is_touched = true;
                self.touched.push(number);
            }
            if !connection.is_dirty {
                connection.is_dirty = true;
                self.dirty.push_back(number);
            }
        }
    }

    fn poll_touched(&mut self) {
        for number in std::mem::take(&mut self.touched) {
            if let Some(connection) = self.connections.get_mut(&number) {
                connection.is_touched = false;
                connection.poll_events(&mut self.events);
                self.handshaking -= usize::from(connection.leave_handshake());
            }
        }
    }

    fn poll_endpoint_events(&mut self, number: u32) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        while let Some(event) = connection.proto.poll_endpoint_events() {
            // A handle that was given up may belong to another connection by now.
            if connection.is_drained {
                continue;
            }
            connection.is_drained = event.is_drained();
            if let Some(answer) = self.proto.handle_event(connection.handle, event) {
                connection.proto.handle_event(answer);
            }
        }
    }

    fn remove(&mut self, number: u32) {
        if let Some(mut connection) = self.connections.remove(&number) {
            connection.handshake_deadline = None;
            self.handshaking -= usize::from(connection.leave_handshake());
            if let Some(deadline) = connection.deadline {
                self.timers.remove(&(deadline, number));
            }
            if self.numbers.get(&connection.handle) == Some(&number) {
                self.numbers.remove(&connection.handle);
            }
        }
    }
}
