//! The socket as a JavaScript class.
use std::net::{IpAddr, SocketAddr};

use napi::bindgen_prelude::{BufferSlice, Error, Result};
use napi_derive::napi;

use crate::socket::{Failure, Setup, Socket};

/// How a socket is opened (`packages/udp/src/addon.ts`).
#[napi(object)]
pub struct NativeOptions {
    pub address: String,
    pub port: u16,
    pub reuse_port: bool,
    pub reuse_address: bool,
    pub ipv6_only: bool,
    pub buffer_size: Option<u32>,
    pub peer_address: Option<String>,
    pub peer_port: Option<u16>,
}

/// An open socket.
#[napi]
pub struct UdpSocket {
    socket: Option<Socket>,
    port: u16,
}

#[napi]
impl UdpSocket {
    /// Opens, binds and, with a peer, connects.
    #[napi(constructor)]
    pub fn new(options: NativeOptions) -> Result<Self> {
        let peer = match (&options.peer_address, options.peer_port) {
            (Some(address), Some(port)) => Some(numeric(address, port)?),
            _ => None,
        };
        let socket = Socket::open(&Setup {
            local: numeric(&options.address, options.port)?,
            peer,
            reuse_port: options.reuse_port,
            reuse_address: options.reuse_address,
            ipv6_only: options.ipv6_only,
            buffer_size: options.buffer_size.map(|size| size as usize),
        })
        .map_err(reason)?;
        let port = socket.port().map_err(reason)?;
        Ok(Self { socket: Some(socket), port })
    }

    /// The port that it is.
    #[napi(getter)]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A duplicate of the descriptor, for the caller to own.
    #[napi]
    pub fn share(&self) -> Result<i32> {
        let socket = self.socket.as_ref().ok_or_else(|| Error::from_reason("the socket is closed"))?;
        socket.share().map_err(reason)
    }

    /// Takes what has come, one datagram a slot of `slot` bytes in `arena`, a row each in `table`; returns how many.
    #[napi]
    pub fn receive(&mut self, mut arena: BufferSlice, mut table: BufferSlice, slot: u32) -> u32 {
        self.socket.as_mut().map_or(0, |socket| socket.receive(&mut arena, &mut table, slot as usize))
    }

    /// Sends the first `count` datagrams of `table`, which lie back to back in `arena`; returns how many were refused.
    #[napi]
    pub fn send(&mut self, arena: &[u8], table: &[u32], count: u32) -> u32 {
        self.socket.as_mut().map_or(count, |socket| socket.send(arena, table, count as usize))
    }

    /// Lets go of the socket; whoever shares it has it still.
    #[napi]
    pub fn close(&mut self) {
        self.socket = None;
    }
}

fn numeric(address: &str, port: u16) -> Result<SocketAddr> {
    let ip: IpAddr = address.parse().map_err(|_| Error::from_reason(format!("no numeric address: {address}")))?;
    Ok(SocketAddr::new(ip, port))
}

fn reason(failure: Failure) -> Error {
    Error::from_reason(failure.to_string())
}
