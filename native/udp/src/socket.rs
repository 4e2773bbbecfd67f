//! A socket that sends and receives in batches. Datagrams are told in tables of rows, six 32-bit words each: length, the
//! peer's port, the peer's address (IPv4: the first word).
use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, IntoRawFd};

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, sendmsg};
use socket2::{Domain, Protocol, Type};

/// Datagrams that a system call moves at most.
const BATCH: usize = 64;
/// Words of a row.
const WORDS: usize = 6;
const ROW_BYTES: usize = 4 * WORDS;
/// Bytes of a run of segments: what fits into one datagram of IPv4 or IPv6.
const MAX_RUN_BYTES: usize = 65_000;
/// Segments of a run: UDP_MAX_SEGMENTS of the oldest kernels that have it.
const MAX_RUN: usize = 64;

/// How to open a socket.
pub struct Setup {
    pub local: SocketAddr,
    /// The only one that it then hears.
    pub peer: Option<SocketAddr>,
    pub reuse_port: bool,
    pub reuse_address: bool,
    pub ipv6_only: bool,
    /// Bytes that the kernel holds each way; what it refuses is left as it is.
    pub buffer_size: Option<usize>,
}

/// A system call that failed, worded as Node words its own: `bind EADDRINUSE 0.0.0.0:3478`.
#[derive(Debug)]
pub struct Failure {
    call: &'static str,
    at: Option<SocketAddr>,
    cause: io::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause.raw_os_error() {
            Some(code) => write!(to, "{} {:?}", self.call, Errno::from_raw(code))?,
            None => write!(to, "{} {}", self.call, self.cause)?,
        }
        self.at.map_or(Ok(()), |at| write!(to, " {at}"))
    }
}

/// An open socket; closed when dropped.
pub struct Socket {
    socket: socket2::Socket,
    ipv6: bool,
    /// Whether the kernel and the device cut runs into segments; until they refused to.
    segments: bool,
    received: MultiHeaders<SockaddrStorage>,
    sending: MultiHeaders<SockaddrStorage>,
}

impl Socket {
    /// Opens, binds and, with a peer, connects.
    pub fn open(setup: &Setup) -> Result<Self, Failure> {
        let at = |call, at| move |cause| Failure { call, at: Some(at), cause };
        let ipv6 = setup.local.is_ipv6();
        let domain = if ipv6 { Domain::IPV6 } else { Domain::IPV4 };
        let socket =
            socket2::Socket::new(domain, Type::DGRAM, Some(Protocol::UDP)).map_err(at("socket", setup.local))?;
        let prepare = || {
            socket.set_nonblocking(true)?;
            if ipv6 {
                socket.set_only_v6(setup.ipv6_only)?;
            }
            socket.set_reuse_address(setup.reuse_address)?;
            socket.set_reuse_port(setup.reuse_port)
        };
        prepare().map_err(at("setsockopt", setup.local))?;
        if let Some(size) = setup.buffer_size {
            // The limit may be lower: less room for bursts then.
            let _ = socket.set_recv_buffer_size(size);
            let _ = socket.set_send_buffer_size(size);
        }
        socket.bind(&setup.local.into()).map_err(at("bind", setup.local))?;
        if let Some(peer) = setup.peer {
            socket.connect(&peer.into()).map_err(at("connect", peer))?;
        }
        let (received, sending) = (MultiHeaders::preallocate(BATCH, None), MultiHeaders::preallocate(BATCH, None));
        Ok(Self { socket, ipv6, segments: true, received, sending })
    }

    /// The port that it is.
    pub fn port(&self) -> Result<u16, Failure> {
        let local = self.socket.local_addr().map_err(|cause| Failure { call: "getsockname", at: None, cause })?;
        Ok(local.as_socket().map_or(0, |address| address.port()))
    }

    /// A duplicate of the descriptor, for another to own.
    pub fn share(&self) -> Result<i32, Failure> {
        let socket = self.socket.try_clone().map_err(|cause| Failure { call: "dup", at: None, cause })?;
        Ok(socket.into_raw_fd())
    }

    /// Takes what has come, each datagram at the next multiple of `slot` bytes; returns how many. What is longer is cut.
    pub fn receive(&mut self, arena: &mut [u8], table: &mut [u8], slot: usize) -> u32 {
        let mut slices: Vec<[IoSliceMut; 1]> = arena
            .chunks_exact_mut(slot.max(1))
            .take(BATCH.min(table.len() / ROW_BYTES))
            .map(|chunk| [IoSliceMut::new(chunk)])
            .collect();
        let fd = self.socket.as_raw_fd();
        // An error is of an earlier send (ECONNREFUSED) or means that nothing has come: the next wake asks again.
        let Ok(messages) = recvmmsg(fd, &mut self.received, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) else {
            return 0;
        };
        let mut count = 0;
        for (message, bytes) in messages.zip(table.chunks_exact_mut(ROW_BYTES)) {
            let row = row_of(message.bytes, message.address);
            for (word, bytes) in row.iter().zip(bytes.chunks_exact_mut(4)) {
                bytes.copy_from_slice(&word.to_ne_bytes());
            }
            count += 1;
        }
        count
    }

    /// Sends the first `count` datagrams of `table`, which lie back to back in `arena`; port 0: to the connected peer.
    /// Returns how many the system refused: they are gone, as on any path.
    pub fn send(&mut self, arena: &[u8], table: &[u32], count: usize) -> u32 {
        let rows: Vec<&[u32]> = table.chunks_exact(WORDS).take(count).collect();
        let mut refused = 0;
        let mut singles: Vec<([IoSlice; 1], Option<SockaddrStorage>)> = Vec::with_capacity(BATCH);
        let (mut at, mut offset) = (0, 0);
        while at < rows.len() {
            let run = if self.segments { run_length(&rows[at..]) } else { 1 };
            let size: usize = rows[at..at + run].iter().map(|row| row[0] as usize).sum();
            let Some(mut bytes) = arena.get(offset..offset + size) else { break };
            let to = self.address(rows[at]);
            if run > 1 {
                refused += self.send_singles(&mut singles); // order is kept
                if self.send_run(bytes, rows[at][0] as u16, to) {
                    at += run;
                    offset += size;
                    continue;
                }
            }
            // One, or a run that could not leave as such: one by one each succeeds or fails for itself.
            for row in &rows[at..at + run] {
                let (datagram, rest) = bytes.split_at(row[0] as usize);
                bytes = rest;
                singles.push(([IoSlice::new(datagram)], to));
                if singles.len() == BATCH {
                    refused += self.send_singles(&mut singles);
                }
            }
            at += run;
            offset += size;
        }
        refused + self.send_singles(&mut singles) + (rows.len() - at) as u32
    }

    /// Whether the run left, to be cut on its way.
    fn send_run(&mut self, bytes: &[u8], segment: u16, to: Option<SockaddrStorage>) -> bool {
        let control = [ControlMessage::UdpGsoSegments(&segment)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let sent = sendmsg(self.socket.as_raw_fd(), &[IoSlice::new(bytes)], &control, flags, to.as_ref());
        if let Err(Errno::EIO | Errno::EINVAL | Errno::ENOPROTOOPT | Errno::EOPNOTSUPP) = sent {
            self.segments = false; // the kernel or the device cannot
        }
        sent.is_ok()
    }

    fn send_singles(&mut self, singles: &mut Vec<([IoSlice; 1], Option<SockaddrStorage>)>) -> u32 {
        let fd = self.socket.as_raw_fd();
        let (slices, addresses): (Vec<[IoSlice; 1]>, Vec<Option<SockaddrStorage>>) = singles.drain(..).unzip();
        let (mut at, mut refused) = (0, 0);
        while at < slices.len() {
            let rest = slices[at..].iter();
            match sendmmsg(fd, &mut self.sending, rest, &addresses[at..], [], MsgFlags::MSG_DONTWAIT) {
                Ok(sent) => at += sent.count(),
                // The first of the rest was refused, for a reason that may be its own.
                Err(_) => {
                    refused += 1;
                    at += 1;
                }
            }
        }
        refused
    }

    fn address(&self, row: &[u32]) -> Option<SockaddrStorage> {
        let port = row[1] as u16;
        if port == 0 {
            return None;
        }
        Some(if self.ipv6 {
            let ip = row[2..].iter().fold(0, |ip, word| (ip << 32) | u128::from(*word));
            SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, 0).into()
        } else {
            SocketAddrV4::new(Ipv4Addr::from(row[2]), port).into()
        })
    }
}

/// How many datagrams from the first on make a run: to one peer, of one size, the last of which may be shorter.
fn run_length(rows: &[&[u32]]) -> usize {
    let first = rows[0];
    let mut bytes = first[0] as usize;
    let mut run = 1;
    while run < rows.len().min(MAX_RUN) {
        let next = rows[run];
        bytes += next[0] as usize;
        if next[0] > first[0] || next[0] == 0 || bytes > MAX_RUN_BYTES || next[1..] != first[1..] {
            break;
        }
        run += 1;
        if next[0] < first[0] {
            break;
        }
    }
    run
}

fn row_of(length: usize, from: Option<SockaddrStorage>) -> [u32; WORDS] {
    let mut row = [length as u32, 0, 0, 0, 0, 0];
    let Some(from) = from else { return row };
    if let Some(from) = from.as_sockaddr_in() {
        row[1] = u32::from(from.port());
        row[2] = u32::from(from.ip());
    } else if let Some(from) = from.as_sockaddr_in6() {
        row[1] = u32::from(from.port());
        for (word, bytes) in row[2..].iter_mut().zip(from.ip().octets().chunks_exact(4)) {
            *word = bytes.iter().fold(0, |word, byte| (word << 8) | u32::from(*byte));
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(table: &[[u32; WORDS]]) -> Vec<&[u32]> {
        table.iter().map(|row| row.as_slice()).collect()
    }

    fn loopback(port: u16) -> Socket {
        let local = SocketAddr::from(([127, 0, 0, 1], port));
        let setup =
            Setup { local, peer: None, reuse_port: false, reuse_address: false, ipv6_only: false, buffer_size: None };
        Socket::open(&setup).expect("loopback has a free port")
    }

    #[test]
    fn a_run_ends_with_a_longer_datagram_after_a_shorter_one_and_at_another_peer() {
        let to = |length, port| [length, port, 1, 0, 0, 0];
        assert_eq!(run_length(&rows(&[to(9, 1), to(9, 1), to(10, 1)])), 2);
        assert_eq!(run_length(&rows(&[to(9, 1), to(8, 1), to(8, 1)])), 2);
        assert_eq!(run_length(&rows(&[to(9, 1), to(9, 2)])), 1);
        assert_eq!(run_length(&rows(&[to(9, 1), to(0, 1)])), 1);
        assert_eq!(run_length(&rows(&[to(1400, 1); 64])), 46);
        assert_eq!(run_length(&rows(&[to(9, 1); 100])), 64);
    }

    #[test]
    fn datagrams_pass_with_and_without_segmentation() {
        for segments in [true, false] {
            let (mut from, mut to) = (loopback(0), loopback(0));
            from.segments = segments;
            let port = u32::from(to.port().expect("bound"));
            let lengths = [5, 5, 5, 3, 7, 5, 5];
            let table: Vec<u32> = lengths.iter().flat_map(|length| [*length, port, 0x7f00_0001, 0, 0, 0]).collect();
            let arena: Vec<u8> = (0..35).collect();
            assert_eq!(from.send(&arena, &table, lengths.len()), 0);
            let (mut slots, mut got) = ([0; 10 * 16], [0; 10 * ROW_BYTES]);
            assert_eq!(to.receive(&mut slots, &mut got, 16), 7);
            let mut next = 0;
            for (index, length) in lengths.iter().enumerate() {
                assert_eq!(got[index * ROW_BYTES..][..4], length.to_ne_bytes());
                for byte in &slots[index * 16..][..*length as usize] {
                    assert_eq!(*byte, next);
                    next += 1;
                }
            }
        }
    }

    #[test]
    fn a_table_that_claims_more_than_the_arena_has_is_refused() {
        let mut from = loopback(0);
        let row = [100, 9, 0x7f00_0001, 0, 0, 0];
        assert_eq!(from.send(&[0; 99], &row, 1), 1);
        assert_eq!(from.send(&[0; 99], &row, 5), 1);
        assert_eq!(from.receive(&mut [], &mut [], 0), 0);
        assert!(from.share().is_ok());
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let first = loopback(0);
        let setup = Setup {
            local: SocketAddr::from(([127, 0, 0, 1], first.port().expect("bound"))),
            peer: None,
            reuse_port: false,
            reuse_address: false,
            ipv6_only: false,
            buffer_size: None,
        };
        let failure = Socket::open(&setup).err().expect("taken").to_string();
        assert!(failure.starts_with("bind EADDRINUSE 127.0.0.1:"), "{failure}");
    }
}
