//! How datagrams and events cross to JavaScript: little-endian records, many to one call.
//!
//! ```text
//! address:  family u8 (4 or 6) | address, 4 or 16 | port u16
//! datagram: address | size u16 | payload
//! event:    kind u8 | fields          connection u32, stream and code f64, text and data: size u16 | bytes
//! ```
use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// Space that a datagram's record takes beside its payload, at most.
pub const DATAGRAM_OVERHEAD: usize = 21;
/// A chunk of events grows no further; one event has at most 65,600 bytes, and the reader's buffer 131,072.
const CHUNK_SIZE: usize = 60_000;
const MAX_TEXT: usize = 1024;

/// Takes the next datagram off `input`; `None`: the record is broken.
pub fn take_datagram<'a>(input: &mut &'a [u8]) -> Option<(SocketAddr, &'a [u8])> {
    let from = take_address(input)?;
    let size = take_u16(input)?;
    Some((from, take(input, usize::from(size))?))
}

/// Takes an address off `input`.
pub fn take_address(input: &mut &[u8]) -> Option<SocketAddr> {
    let ip: IpAddr = match take(input, 1)?[0] {
        4 => Ipv4Addr::from(<[u8; 4]>::try_from(take(input, 4)?).ok()?).into(),
        6 => Ipv6Addr::from(<[u8; 16]>::try_from(take(input, 16)?).ok()?).into(),
        _ => return None,
    };
    Some(SocketAddr::new(ip, take_u16(input)?))
}

fn take_u16(input: &mut &[u8]) -> Option<u16> {
    Some(u16::from_le_bytes(take(input, 2)?.try_into().ok()?))
}

fn take<'a>(input: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(size)?;
    *input = rest;
    Some(taken)
}

/// Writes a datagram's record at the start of `output` and gives its size; `None`: it does not fit.
pub fn put_datagram(output: &mut [u8], to: SocketAddr, payload: &[u8]) -> Option<usize> {
    let (family, v4, v6);
    let ip: &[u8] = match to.ip() {
        IpAddr::V4(ip) => {
            (family, v4) = (4, ip.octets());
            &v4
        }
        IpAddr::V6(ip) => {
            (family, v6) = (6, ip.octets());
            &v6
        }
    };
    let size = u16::try_from(payload.len()).ok()?;
    let head = 1 + ip.len() + 4;
    let target = output.get_mut(..head + payload.len())?;
    target[0] = family;
    target[1..=ip.len()].copy_from_slice(ip);
    target[head - 4..head - 2].copy_from_slice(&to.port().to_le_bytes());
    target[head - 2..head].copy_from_slice(&size.to_le_bytes());
    target[head..].copy_from_slice(payload);
    Some(target.len())
}

fn put_address(record: &mut Vec<u8>, address: SocketAddr) {
    match address.ip() {
        IpAddr::V4(ip) => {
            record.push(4);
            record.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            record.push(6);
            record.extend_from_slice(&ip.octets());
        }
    }
    record.extend_from_slice(&address.port().to_le_bytes());
}

/// Why a connection ended; the numbers cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ClosedBy {
    Us = 0,
    Peer = 1,
    PeerTransport = 2,
    Protocol = 3,
    Timeout = 4,
    Reset = 5,
    Bug = 6,
}

/// Events that wait for JavaScript, in chunks that one call takes.
#[derive(Default)]
pub struct Events {
    chunks: VecDeque<Vec<u8>>,
}

#[allow(missing_docs)]
impl Events {
    pub fn opening(&mut self, connection: u32, remote: SocketAddr) {
        put_address(self.of(1, connection), remote);
    }

    pub fn connected(&mut self, connection: u32, remote: SocketAddr) {
        put_address(self.of(2, connection), remote);
    }

    pub fn handshake_failed(&mut self, remote: SocketAddr, reason: &str) {
        let record = self.record(3);
        put_address(record, remote);
        put_text(record, reason);
    }

    pub fn stream_opened(&mut self, connection: u32, stream: u64) {
        put_f64(self.of(4, connection), stream);
    }

    pub fn stream_readable(&mut self, connection: u32, stream: u64) {
        put_f64(self.of(5, connection), stream);
    }

    pub fn stream_writable(&mut self, connection: u32, stream: u64) {
        put_f64(self.of(6, connection), stream);
    }

    pub fn stream_stopped(&mut self, connection: u32, stream: u64, code: u64) {
        let record = self.of(7, connection);
        put_f64(record, stream);
        put_f64(record, code);
    }

    pub fn stream_finished(&mut self, connection: u32, stream: u64) {
        put_f64(self.of(8, connection), stream);
    }

    pub fn streams_available(&mut self, connection: u32, bidirectional: bool) {
        self.of(9, connection).push(bidirectional.into());
    }

    pub fn datagram(&mut self, connection: u32, data: &[u8]) {
        put_bytes(self.of(10, connection), data);
    }

    pub fn path_changed(&mut self, connection: u32, remote: SocketAddr) {
        put_address(self.of(11, connection), remote);
    }

    pub fn closed(&mut self, connection: u32, by: ClosedBy, code: u64, reason: &str) {
        let record = self.of(12, connection);
        record.push(by as u8);
        put_f64(record, code);
        put_text(record, reason);
    }

    pub fn incoming(&mut self, incoming: u32, from: SocketAddr, validated: bool, cid: &[u8]) {
        let record = self.of(13, incoming);
        put_address(record, from);
        record.push(validated.into());
        put_bytes(record, cid);
    }

    /// Moves a chunk into `output`, which must hold 131,072 bytes; 0: there is none.
    pub fn take(&mut self, output: &mut [u8]) -> usize {
        let Some(chunk) = self.chunks.front() else {
            return 0;
        };
        let size = chunk.len();
        let Some(target) = output.get_mut(..size) else {
            return 0;
        };
        target.copy_from_slice(chunk);
        self.chunks.pop_front();
        size
    }

    fn of(&mut self, kind: u8, connection: u32) -> &mut Vec<u8> {
        let record = self.record(kind);
        record.extend_from_slice(&connection.to_le_bytes());
        record
    }

    fn record(&mut self, kind: u8) -> &mut Vec<u8> {
        if self.chunks.back().is_none_or(|chunk| chunk.len() > CHUNK_SIZE) {
            self.chunks.push_back(Vec::with_capacity(512));
        }
        let last = self.chunks.len() - 1;
        let chunk = &mut self.chunks[last];
        chunk.push(kind);
        chunk
    }
}

fn put_f64(record: &mut Vec<u8>, value: u64) {
    record.extend_from_slice(&(value as f64).to_le_bytes());
}

fn put_bytes(record: &mut Vec<u8>, bytes: &[u8]) {
    let size = bytes.len().min(usize::from(u16::MAX));
    record.extend_from_slice(&(size as u16).to_le_bytes());
    record.extend_from_slice(&bytes[..size]);
}

fn put_text(record: &mut Vec<u8>, text: &str) {
    let mut size = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(size) {
        size -= 1;
    }
    put_bytes(record, &text.as_bytes()[..size]);
}
