//! One connection: what the application does with it. Whatever is gone meanwhile answers `None` or `false`.
use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use bytes::Bytes;
use quinn_proto::{
    Connection as Proto, ConnectionError, ConnectionEvent, ConnectionHandle, Dir, Event, ReadError, SendDatagramError,
    Side, StreamEvent, StreamId, VarInt, WriteError,
};

use crate::{
    probation::Probation,
    records::{ClosedBy, Events},
    voice::{Probing, latest_round_trip},
    watch::Watch,
};

/// What a read found behind the bytes it took; the numbers cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ReadState {
    More = 0,
    Blocked = 1,
    Finished = 2,
    Reset = 3,
}

/// What a read took.
#[derive(Debug, PartialEq, Eq)]
pub struct Read {
    /// Bytes in the caller's buffer.
    pub size: usize,
    /// What comes behind them.
    pub state: ReadState,
    /// The peer's code when the stream was reset.
    pub code: u64,
}

/// What became of a datagram; the numbers cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DatagramResult {
    Queued = 0,
    Dropped = 1,
    TooLarge = 2,
    Unsupported = 3,
    Closed = 4,
}

/// A connection and what the endpoint remembers of it.
pub struct Connection {
    pub number: u32,
    pub handle: ConnectionHandle,
    pub proto: Proto,
    pub remote: SocketAddr,
    /// Has to be connected by then.
    pub handshake_deadline: Option<Instant>,
    /// What the endpoint's timers hold.
    pub deadline: Option<Instant>,
    /// Waits in the endpoint's list of those that may have something to send.
    pub is_dirty: bool,
    /// Waits in the endpoint's list of those that may have something to tell.
    pub is_touched: bool,
    /// quinn's endpoint forgot it.
    pub is_drained: bool,
    /// `closed` was told, or failed before anything was.
    is_closed: bool,
    /// An event has named it.
    is_announced: bool,
    /// Counts among those that shake hands.
    is_counted: bool,
    opened: [u64; 2],
    accepted: [u64; 2],
    /// The address that proved last that it listens.
    validated: Option<SocketAddr>,
    probation: Option<Probation>,
    /// Held back during a probation that ended well.
    released: VecDeque<(SocketAddr, Vec<u8>)>,
    watch: Watch,
    /// A ping is to go now, whatever is in flight.
    is_probing: bool,
    /// Round trips that were seen when one was taken last.
    taken_round_trips: u64,
}

impl Connection {
    /// `received` bytes came from an address that a server does not know to be real; `None`: it is real.
    pub fn new(
        now: Instant,
        number: u32,
        handle: ConnectionHandle,
        proto: Proto,
        handshake_deadline: Instant,
        received: Option<usize>,
    ) -> Self {
        let remote = proto.remote_address();
        let buffered = proto.stats().udp_rx.bytes as usize;
        Self {
            number,
            handle,
            remote,
            validated: received.is_none().then_some(remote),
            probation: received.map(|first| Probation::new(remote, first + buffered)),
            released: VecDeque::new(),
            watch: Watch::new(now),
            is_probing: false,
            taken_round_trips: 0,
            handshake_deadline: Some(handshake_deadline),
            deadline: None,
            is_dirty: false,
            is_touched: false,
            is_drained: false,
            is_closed: false,
            is_announced: proto.side() == Side::Client,
            is_counted: true,
            opened: [0; 2],
            accepted: [0; 2],
            proto,
        }
    }

    /// Takes a datagram of `size` bytes that came `from` somewhere.
    pub fn handle(&mut self, now: Instant, from: SocketAddr, size: usize, event: ConnectionEvent) {
        let responses = self.probation.is_some().then(|| self.path_responses());
        if let Some(probation) = &mut self.probation
            && probation.remote == from
        {
            probation.receive(size);
        }
        self.proto.handle_event(event);
        self.follow_path(from, size);
        if let (Some(before), Some(probation)) = (responses, &self.probation)
            && probation.remote == from
            && self.path_responses() > before
        {
            self.end_probation();
        }
        if self.watch.hear(now) {
            self.probe();
        }
    }

    fn probe(&mut self) {
        if self.handshake_deadline.is_none() && !self.is_closed {
            self.is_probing = true;
            self.proto.ping();
        }
    }

    /// Asks the peer for an acknowledgement.
    pub fn ping(&mut self) -> bool {
        let may = self.handshake_deadline.is_none() && !self.is_closed;
        if may {
            self.proto.ping();
        }
        may
    }

    /// The latest round trip, unless it was taken before.
    pub fn take_round_trip(&mut self) -> Option<Duration> {
        if self.is_closed {
            return None;
        }
        let (rtt, count) = latest_round_trip(self.proto.congestion_state())?;
        (std::mem::replace(&mut self.taken_round_trips, count) != count).then_some(rtt)
    }

    fn path_responses(&self) -> u64 {
        self.proto.stats().frame_rx.path_response
    }

    /// Begins a probation when quinn turned to another address, because of a datagram from there.
    fn follow_path(&mut self, from: SocketAddr, size: usize) {
        let remote = self.proto.remote_address();
        if remote == self.route() {
            return;
        }
        let is_known = Some(remote) == self.validated;
        let received = if from == remote { size } else { 0 };
        self.probation = (!is_known).then(|| Probation::new(remote, received));
    }

    /// Where quinn sent to when it was looked at last.
    fn route(&self) -> SocketAddr {
        match &self.probation {
            Some(probation) => probation.remote,
            None => self.validated.unwrap_or(self.remote),
        }
    }

    fn end_probation(&mut self) {
        if let Some(probation) = self.probation.take() {
            let remote = probation.remote;
            self.validated = Some(remote);
            self.released.extend(probation.end().into_iter().map(|payload| (remote, payload)));
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.proto.handle_timeout(now);
        if self.watch.handle_timeout(now) {
            self.probe();
        }
        // A path that was not validated in time is given up for the one before.
        self.follow_path(self.remote, 0);
    }

    /// Puts the next datagram to send into `buffer`.
    pub fn poll_transmit(&mut self, now: Instant, buffer: &mut Vec<u8>, probing: &Probing) -> Option<SocketAddr> {
        let held = self.probation.as_mut().and_then(|probation| Some((probation.remote, probation.take_held()?)));
        if let Some((remote, payload)) = self.released.pop_front().or(held) {
            *buffer = payload;
            return Some(remote);
        }
        loop {
            buffer.clear();
            probing.set(std::mem::take(&mut self.is_probing));
            let transmit = self.proto.poll_transmit(now, 1, buffer);
            probing.set(false);
            let remote = transmit?.destination;
            let probation = self.probation.as_mut().filter(|probation| probation.remote == remote);
            if probation.is_none_or(|probation| probation.admit(buffer)) {
                return Some(remote);
            }
        }
    }

    /// When something is due.
    pub fn next_timeout(&mut self) -> Option<Instant> {
        let watch = if self.is_closed { None } else { self.watch.poll_timeout() };
        [self.proto.poll_timeout(), self.handshake_deadline, watch].into_iter().flatten().min()
    }

    /// Tells what happened.
    pub fn poll_events(&mut self, events: &mut Events) {
        let remote = self.proto.remote_address();
        if remote != self.remote {
            self.remote = remote;
            if self.is_announced && !self.is_closed {
                events.path_changed(self.number, remote);
            }
        }
        while let Some(event) = self.proto.poll() {
            if !self.is_closed {
                self.tell(event, events);
            }
        }
    }

    fn tell(&mut self, event: Event, events: &mut Events) {
        let number = self.number;
        match event {
            Event::HandshakeDataReady => {
                if self.proto.side() == Side::Server {
                    self.is_announced = true;
                    events.opening(number, self.remote);
                }
            }
            Event::Connected => {
                self.handshake_deadline = None;
                self.end_probation();
                events.connected(number, self.remote);
            }
            Event::ConnectionLost { reason } => {
                let (by, code, reason) = explain(reason);
                self.end(by, code, &reason, events);
            }
            Event::Stream(StreamEvent::Opened { dir }) => {
                while let Some(id) = self.proto.streams().accept(dir) {
                    self.accepted[dir as usize] = id.index() + 1;
                    events.stream_opened(number, id.into());
                    events.stream_readable(number, id.into());
                }
            }
            Event::Stream(StreamEvent::Readable { id }) => events.stream_readable(number, id.into()),
            Event::Stream(StreamEvent::Writable { id }) => events.stream_writable(number, id.into()),
            Event::Stream(StreamEvent::Finished { id }) => events.stream_finished(number, id.into()),
            Event::Stream(StreamEvent::Stopped { id, error_code }) => {
                events.stream_stopped(number, id.into(), error_code.into());
            }
            Event::Stream(StreamEvent::Available { dir }) => events.streams_available(number, dir == Dir::Bi),
            Event::DatagramReceived => {
                while let Some(data) = self.proto.datagrams().recv() {
                    events.datagram(number, &data);
                }
            }
            Event::DatagramsUnblocked => {}
        }
    }

    /// Whether it was counted among those that shake hands and no longer is one.
    pub fn leave_handshake(&mut self) -> bool {
        let left = self.is_counted && self.handshake_deadline.is_none();
        self.is_counted &= !left;
        left
    }

    /// Tells the end, once.
    pub fn end(&mut self, by: ClosedBy, code: u64, reason: &str, events: &mut Events) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        self.handshake_deadline = None;
        if self.is_announced {
            events.closed(self.number, by, code, reason);
        } else {
            events.handshake_failed(self.remote, reason);
        }
    }

    pub fn close(&mut self, now: Instant, code: VarInt, reason: &str, events: &mut Events) -> bool {
        if self.is_closed {
            return false;
        }
        self.proto.close(now, code, Bytes::copy_from_slice(reason.as_bytes()));
        self.end(ClosedBy::Us, code.into(), reason, events);
        true
    }

    pub fn open(&mut self, dir: Dir) -> Option<u64> {
        if self.is_closed {
            return None;
        }
        let id = self.proto.streams().open(dir)?;
        self.opened[dir as usize] = id.index() + 1;
        Some(id.into())
    }

    /// Takes what fits. Tries once more than fits, for only a refused write makes quinn tell when there is room.
    pub fn write(&mut self, stream: u64, data: &[u8]) -> Option<usize> {
        let id = self.sending(stream)?;
        let mut sender = self.proto.send_stream(id);
        let mut written = 0;
        while written < data.len() {
            match sender.write(&data[written..]) {
                Ok(size) => written += size,
                Err(WriteError::Blocked) => break,
                Err(WriteError::Stopped(_) | WriteError::ClosedStream) => return None,
            }
        }
        Some(written)
    }

    pub fn finish(&mut self, stream: u64) -> bool {
        let Some(id) = self.sending(stream) else {
            return false;
        };
        self.proto.send_stream(id).finish().is_ok()
    }

    pub fn reset(&mut self, stream: u64, code: VarInt) -> bool {
        let Some(id) = self.sending(stream) else {
            return false;
        };
        self.proto.send_stream(id).reset(code).is_ok()
    }

    pub fn set_priority(&mut self, stream: u64, priority: i32) -> bool {
        let Some(id) = self.sending(stream) else {
            return false;
        };
        self.proto.send_stream(id).set_priority(priority).is_ok()
    }

    /// Reads into `output`. What came before the peer closed can still be read until the connection is gone.
    pub fn read(&mut self, stream: u64, output: &mut [u8]) -> Option<Read> {
        let id = self.receiving(stream)?;
        let mut receiver = self.proto.recv_stream(id);
        let mut chunks = receiver.read(true).ok()?;
        let (mut size, mut state, mut code) = (0, ReadState::More, 0);
        while size < output.len() {
            match chunks.next(output.len() - size) {
                Ok(Some(chunk)) => {
                    output[size..size + chunk.bytes.len()].copy_from_slice(&chunk.bytes);
                    size += chunk.bytes.len();
                    continue;
                }
                Ok(None) => state = ReadState::Finished,
                Err(ReadError::Blocked) => state = ReadState::Blocked,
                Err(ReadError::Reset(reset)) => (state, code) = (ReadState::Reset, reset.into()),
            }
            break;
        }
        let _ = chunks.finalize(); // the endpoint polls for transmits in any case
        Some(Read { size, state, code })
    }

    pub fn stop(&mut self, stream: u64, code: VarInt) -> bool {
        let Some(id) = self.receiving(stream) else {
            return false;
        };
        !self.is_closed && self.proto.recv_stream(id).stop(code).is_ok()
    }

    pub fn send_datagram(&mut self, data: &[u8]) -> DatagramResult {
        if self.is_closed {
            return DatagramResult::Closed;
        }
        let mut datagrams = self.proto.datagrams();
        let fits = datagrams.send_buffer_space() >= data.len();
        match datagrams.send(Bytes::copy_from_slice(data), true) {
            Ok(()) if fits => DatagramResult::Queued,
            Ok(()) => DatagramResult::Dropped,
            Err(SendDatagramError::TooLarge) => DatagramResult::TooLarge,
            Err(SendDatagramError::UnsupportedByPeer | SendDatagramError::Disabled) => DatagramResult::Unsupported,
            Err(SendDatagramError::Blocked(_)) => DatagramResult::Dropped,
        }
    }

    pub fn max_datagram_size(&mut self) -> Option<usize> {
        if self.is_closed {
            return None;
        }
        self.proto.datagrams().max_size()
    }

    /// The stream, if it exists, is not the peer's alone, and the connection lives. quinn would panic, or send on a stream
    /// that the peer has not opened.
    fn sending(&self, stream: u64) -> Option<StreamId> {
        let id = stream_id(stream);
        let index = id.dir() as usize;
        let exists = if id.initiator() == self.proto.side() {
            id.index() < self.opened[index]
        } else {
            id.dir() == Dir::Bi && id.index() < self.accepted[index]
        };
        (exists && !self.is_closed).then_some(id)
    }

    fn receiving(&self, stream: u64) -> Option<StreamId> {
        let id = stream_id(stream);
        let index = id.dir() as usize;
        let exists = if id.initiator() == self.proto.side() {
            id.dir() == Dir::Bi && id.index() < self.opened[index]
        } else {
            id.index() < self.accepted[index]
        };
        exists.then_some(id)
    }
}

fn stream_id(stream: u64) -> StreamId {
    let initiator = if stream & 1 == 0 { Side::Client } else { Side::Server };
    let dir = if stream & 2 == 0 { Dir::Bi } else { Dir::Uni };
    StreamId::new(initiator, dir, stream >> 2)
}

/// An end as it is told: who, with which code, in words.
pub fn explain(error: ConnectionError) -> (ClosedBy, u64, String) {
    let words = error.to_string();
    match error {
        ConnectionError::VersionMismatch => (ClosedBy::Protocol, 0, words),
        ConnectionError::TransportError(error) => (ClosedBy::Protocol, error.code.into(), words),
        ConnectionError::ConnectionClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason).into_owned();
            (ClosedBy::PeerTransport, close.error_code.into(), reason)
        }
        ConnectionError::ApplicationClosed(close) => {
            let reason = String::from_utf8_lossy(&close.reason).into_owned();
            (ClosedBy::Peer, close.error_code.into(), reason)
        }
        ConnectionError::Reset => (ClosedBy::Reset, 0, words),
        ConnectionError::TimedOut => (ClosedBy::Timeout, 0, words),
        ConnectionError::LocallyClosed => (ClosedBy::Us, 0, words),
        ConnectionError::CidsExhausted => (ClosedBy::Bug, 0, words),
    }
}
