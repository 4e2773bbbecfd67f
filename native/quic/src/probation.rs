//! The cap on what an address gets before it proved that it listens (RFC 9000, sections 8.1 and 9.3): 3 times what came from it.
//!
//! quinn allows a whole datagram whenever a byte of the allowance is left, which for a small packet from a new address is
//! many times that packet. So what goes beyond waits here, encrypted as it is, until the address sent more or is validated.
use std::{collections::VecDeque, net::SocketAddr};

/// quinn's own cap keeps it near 1; what would go beyond this counts as lost.
const MAX_HELD: usize = 16;

/// An address on probation.
pub struct Probation {
    /// The address.
    pub remote: SocketAddr,
    received: usize,
    sent: usize,
    held: VecDeque<Vec<u8>>,
}

impl Probation {
    /// Begins with so many bytes from `remote`.
    pub fn new(remote: SocketAddr, received: usize) -> Self {
        Self { remote, received, sent: 0, held: VecDeque::new() }
    }

    /// So many more bytes came.
    pub fn receive(&mut self, size: usize) {
        self.received += size;
    }

    /// What waited and may go now.
    pub fn take_held(&mut self) -> Option<Vec<u8>> {
        let size = self.held.front()?.len();
        if !self.allows(size) {
            return None;
        }
        self.sent += size;
        self.held.pop_front()
    }

    /// Whether `payload` may go now; otherwise it waits.
    pub fn admit(&mut self, payload: &[u8]) -> bool {
        if self.held.is_empty() && self.allows(payload.len()) {
            self.sent += payload.len();
            return true;
        }
        if self.held.len() < MAX_HELD {
            self.held.push_back(payload.to_vec());
        }
        false
    }

    /// The address is validated: what waited goes.
    pub fn end(self) -> VecDeque<Vec<u8>> {
        self.held
    }

    fn allows(&self, size: usize) -> bool {
        self.sent + size <= 3 * self.received
    }
}
