//! Connection IDs that the caller minted, in stock before quinn asks.
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use quinn_proto::{ConnectionId, ConnectionIdGenerator};
use ring::rand::{SecureRandom, SystemRandom};

/// One datagram or decision never takes more than this: a new connection needs 8, and a peer may retire 8 in one packet.
pub const LOW_STOCK: usize = 32;
/// More are not kept.
const MAX_STOCK: usize = 1024;

/// The stock, shared by an endpoint and the generator inside it.
#[derive(Clone)]
pub struct Cids {
    length: usize,
    stock: Arc<Mutex<VecDeque<ConnectionId>>>,
}

impl Cids {
    /// An empty stock of IDs of `length` bytes; 0 for IDs without bytes, which need no stock.
    pub fn new(length: usize) -> Self {
        Self { length, stock: Arc::default() }
    }

    /// Whether the next input may be handled without running out.
    pub fn are_low(&self) -> bool {
        self.length > 0 && self.lock().len() < LOW_STOCK
    }

    /// Takes IDs, one after the other in `packed`; gives the size of the stock.
    pub fn add(&self, packed: &[u8]) -> usize {
        let mut stock = self.lock();
        if self.length > 0 {
            for cid in packed.chunks_exact(self.length) {
                if stock.len() < MAX_STOCK {
                    stock.push_back(ConnectionId::new(cid));
                }
            }
        }
        stock.len()
    }

    // A deque is whole whatever a panic interrupted.
    fn lock(&self) -> MutexGuard<'_, VecDeque<ConnectionId>> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionIdGenerator for Cids {
    fn generate_cid(&mut self) -> ConnectionId {
        if self.length == 0 {
            return ConnectionId::new(&[]);
        }
        if let Some(cid) = self.lock().pop_front() {
            return cid;
        }
        // Cannot be while the endpoint minds `are_low`. An ID that no load balancer routes (QUIC-LB, section 3.1) still works
        // for a client that comes directly, and does not end in a loop or a panic.
        let mut bytes = [0; 20];
        let _ = SystemRandom::new().fill(&mut bytes);
        bytes[0] |= 0b1110_0000;
        ConnectionId::new(&bytes[..self.length])
    }

    fn cid_len(&self) -> usize {
        self.length
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
