//! The endpoint as a JavaScript class. Every method catches what may panic inside, so that a bug is an exception.
use std::net::SocketAddr;

use napi::bindgen_prelude::{BufferSlice, Error, Result, Status};
use napi_derive::napi;
use quinn_proto::{Dir, VarInt};

use crate::{
    endpoint::{Admission, BadCall, Endpoint},
    records,
    setup::{Congestion, Identity, Setup, Transport},
};

/// Settings of an endpoint, complete: TypeScript fills in the defaults.
#[napi(object)]
pub struct NativeOptions<'env> {
    pub cid_length: u32,
    pub idle_timeout_ms: u32,
    pub handshake_timeout_ms: u32,
    pub keep_alive_ms: u32,
    pub max_bidirectional_streams: u32,
    pub max_unidirectional_streams: u32,
    pub stream_receive_window: u32,
    pub receive_window: u32,
    pub send_window: u32,
    pub datagram_receive_buffer: u32,
    pub datagram_send_buffer: u32,
    pub max_udp_payload: u32,
    pub congestion: String,
    pub floor_bits_per_second: u32,
    pub initial_rtt_ms: u32,
    pub alpn: Vec<String>,
    pub secret: Option<BufferSlice<'env>>,
    pub max_connections: u32,
    pub identity: Option<NativeIdentity<'env>>,
}

/// A certificate chain and its key, DER.
#[napi(object)]
pub struct NativeIdentity<'env> {
    pub certificate_chain: Vec<BufferSlice<'env>>,
    pub private_key: BufferSlice<'env>,
}

/// Figures of a connection.
#[napi(object)]
pub struct NativeConnectionStats {
    pub remote_address: String,
    pub remote_port: u32,
    pub rtt_ms: f64,
    pub min_rtt_ms: f64,
    pub congestion_window: f64,
    pub congestion_events: f64,
    pub sent_packets: f64,
    pub lost_packets: f64,
    pub lost_bytes: f64,
    pub sent_bytes: f64,
    pub received_bytes: f64,
    pub sent_datagrams: f64,
    pub received_datagrams: f64,
    pub max_udp_payload: u32,
}

/// Figures of an endpoint.
#[napi(object)]
pub struct NativeEndpointStats {
    pub connections: u32,
    pub handshaking: u32,
    pub accepted: f64,
    pub retried: f64,
    pub refused: f64,
    pub ignored: f64,
    pub stray: f64,
    pub panics: f64,
}

/// The protocol engine and its version.
#[napi(catch_unwind)]
pub fn engine_name() -> String {
    concat!("quinn-proto ", env!("QUINN_PROTO_VERSION")).into()
}

/// A QUIC endpoint; see `NativeEndpoint` in TypeScript, which documents the methods.
#[napi]
pub struct NativeEndpoint {
    endpoint: Endpoint,
    /// The code of the reset that `read` met last.
    reset_code: u64,
}

/// Added to the size that `read` gives, times the state.
const STATE: f64 = 4_294_967_296.0;

#[napi]
impl NativeEndpoint {
    #[napi(constructor, catch_unwind)]
    pub fn new(options: NativeOptions) -> Result<Self> {
        let setup = setup(options).map_err(invalid)?;
        let endpoint = Endpoint::new(setup).map_err(invalid)?;
        Ok(Self { endpoint, reset_code: 0 })
    }

    #[napi(catch_unwind)]
    pub fn set_identity(&mut self, identity: NativeIdentity) -> Result<()> {
        self.endpoint.set_identity(&identity.into()).map_err(invalid)
    }

    #[napi(catch_unwind)]
    pub fn add_cids(&mut self, packed: BufferSlice) -> u32 {
        self.endpoint.add_cids(&packed) as u32
    }

    #[napi(catch_unwind)]
    pub fn handle_datagrams(&mut self, now: f64, input: BufferSlice, start: u32, end: u32) -> Result<u32> {
        let records = input.get(start as usize..end as usize).ok_or_else(|| invalid("range of datagrams"))?;
        Ok(self.endpoint.handle_datagrams(now, records).map_err(bad_call)? as u32)
    }

    #[napi(catch_unwind)]
    pub fn decide(&mut self, now: f64, incoming: u32, admission: u32) -> Result<bool> {
        let admission = match admission {
            0 => Admission::Accept,
            1 => Admission::Retry,
            2 => Admission::Refuse,
            _ => Admission::Ignore,
        };
        self.endpoint.decide(now, incoming, admission).map_err(bad_call)
    }

    #[napi(catch_unwind)]
    pub fn handle_timeout(&mut self, now: f64) -> Result<()> {
        self.endpoint.handle_timeout(now).map_err(bad_call)
    }

    /// -1: never.
    #[napi(catch_unwind)]
    pub fn poll_timeout(&self) -> f64 {
        self.endpoint.poll_timeout().unwrap_or(-1.0)
    }

    #[napi(catch_unwind)]
    pub fn take_events(&mut self, mut output: BufferSlice) -> u32 {
        self.endpoint.take_events(&mut output) as u32
    }

    /// Below zero: there are more.
    #[napi(catch_unwind)]
    pub fn drain_transmits(&mut self, now: f64, mut output: BufferSlice, start: u32) -> Result<f64> {
        let target = output.get_mut(start as usize..).ok_or_else(|| invalid("start of output"))?;
        let (size, more) = self.endpoint.drain_transmits(now, target).map_err(bad_call)?;
        Ok(if more { -1.0 - size as f64 } else { size as f64 })
    }

    #[napi(catch_unwind)]
    pub fn connect(&mut self, now: f64, to: BufferSlice, server_name: String, hashes: Vec<BufferSlice>) -> Result<u32> {
        let remote: SocketAddr = records::take_address(&mut &to[..]).ok_or_else(|| invalid("address"))?;
        let hashes = hashes
            .iter()
            .map(|hash| <[u8; 32]>::try_from(&hash[..]).map_err(|_| invalid("a certificate hash has 32 bytes")))
            .collect::<Result<Vec<_>>>()?;
        self.endpoint.connect(now, remote, &server_name, hashes).map_err(invalid)
    }

    /// -1: not now.
    #[napi(catch_unwind)]
    pub fn open_stream(&mut self, connection: u32, bidirectional: bool) -> f64 {
        let dir = if bidirectional { Dir::Bi } else { Dir::Uni };
        match self.endpoint.with(connection, |connection| connection.open(dir)) {
            Some(Some(stream)) => stream as f64,
            _ => -1.0,
        }
    }

    /// -1: gone.
    #[napi(catch_unwind)]
    pub fn write(&mut self, connection: u32, stream: f64, data: BufferSlice) -> f64 {
        match self.endpoint.with(connection, |connection| connection.write(stream_number(stream), &data)) {
            Some(Some(size)) => size as f64,
            _ => -1.0,
        }
    }

    #[napi(catch_unwind)]
    pub fn finish(&mut self, connection: u32, stream: f64) -> bool {
        self.endpoint.with(connection, |connection| connection.finish(stream_number(stream))) == Some(true)
    }

    #[napi(catch_unwind)]
    pub fn reset(&mut self, connection: u32, stream: f64, code: f64) -> Result<bool> {
        let code = var_int(code)?;
        Ok(self.endpoint.with(connection, |connection| connection.reset(stream_number(stream), code)) == Some(true))
    }

    #[napi(catch_unwind)]
    pub fn set_priority(&mut self, connection: u32, stream: f64, priority: i32) -> bool {
        self.endpoint.with(connection, |connection| connection.set_priority(stream_number(stream), priority))
            == Some(true)
    }

    /// Size + state * 2^32; -1: gone.
    #[napi(catch_unwind)]
    pub fn read(&mut self, connection: u32, stream: f64, mut output: BufferSlice, size: u32) -> Result<f64> {
        let target = output.get_mut(..size as usize).ok_or_else(|| invalid("size of output"))?;
        let read = self.endpoint.with(connection, |connection| connection.read(stream_number(stream), target));
        let Some(Some(read)) = read else {
            return Ok(-1.0);
        };
        self.reset_code = read.code;
        Ok(read.size as f64 + f64::from(read.state as u8) * STATE)
    }

    #[napi(catch_unwind)]
    pub fn reset_code(&self) -> f64 {
        self.reset_code as f64
    }

    #[napi(catch_unwind)]
    pub fn stop(&mut self, connection: u32, stream: f64, code: f64) -> Result<bool> {
        let code = var_int(code)?;
        Ok(self.endpoint.with(connection, |connection| connection.stop(stream_number(stream), code)) == Some(true))
    }

    #[napi(catch_unwind)]
    pub fn send_datagram(&mut self, connection: u32, data: BufferSlice) -> u32 {
        use crate::connection::DatagramResult::Closed;
        self.endpoint.with(connection, |connection| connection.send_datagram(&data)).unwrap_or(Closed) as u32
    }

    #[napi(catch_unwind)]
    pub fn ping(&mut self, connection: u32) -> bool {
        self.endpoint.with(connection, |connection| connection.ping()) == Some(true)
    }

    /// -1: none was seen since.
    #[napi(catch_unwind)]
    pub fn take_round_trip(&mut self, connection: u32) -> f64 {
        match self.endpoint.with(connection, |connection| connection.take_round_trip()) {
            Some(Some(rtt)) => rtt.as_secs_f64() * 1000.0,
            _ => -1.0,
        }
    }

    /// -1: none may be sent.
    #[napi(catch_unwind)]
    pub fn max_datagram_size(&mut self, connection: u32) -> f64 {
        match self.endpoint.with(connection, |connection| connection.max_datagram_size()) {
            Some(Some(size)) => size as f64,
            _ => -1.0,
        }
    }

    #[napi(catch_unwind)]
    pub fn close(&mut self, now: f64, connection: u32, code: f64, reason: String) -> Result<bool> {
        self.endpoint.close(now, connection, var_int(code)?, &reason).map_err(bad_call)
    }

    #[napi(catch_unwind)]
    pub fn connection_stats(&self, connection: u32) -> Option<NativeConnectionStats> {
        let connection = self.endpoint.connection(connection)?;
        let stats = connection.proto.stats();
        Some(NativeConnectionStats {
            remote_address: connection.remote.ip().to_string(),
            remote_port: connection.remote.port().into(),
            rtt_ms: stats.path.rtt.as_secs_f64() * 1000.0,
            min_rtt_ms: stats.path.min_rtt.as_secs_f64() * 1000.0,
            congestion_window: stats.path.cwnd as f64,
            congestion_events: stats.path.congestion_events as f64,
            sent_packets: stats.path.sent_packets as f64,
            lost_packets: stats.path.lost_packets as f64,
            lost_bytes: stats.path.lost_bytes as f64,
            sent_bytes: stats.udp_tx.bytes as f64,
            received_bytes: stats.udp_rx.bytes as f64,
            sent_datagrams: stats.udp_tx.datagrams as f64,
            received_datagrams: stats.udp_rx.datagrams as f64,
            max_udp_payload: stats.path.current_mtu.into(),
        })
    }

    #[napi(catch_unwind)]
    pub fn stats(&self) -> NativeEndpointStats {
        let counts = self.endpoint.counts();
        let (connections, handshaking) = self.endpoint.population();
        NativeEndpointStats {
            connections: connections as u32,
            handshaking: handshaking as u32,
            accepted: counts.accepted as f64,
            retried: counts.retried as f64,
            refused: counts.refused as f64,
            ignored: counts.ignored as f64,
            stray: counts.stray as f64,
            panics: counts.panics as f64,
        }
    }
}

impl From<NativeIdentity<'_>> for Identity {
    fn from(identity: NativeIdentity) -> Self {
        Self {
            chain: identity.certificate_chain.iter().map(|der| der.to_vec()).collect(),
            key: identity.private_key.to_vec(),
        }
    }
}

fn setup(options: NativeOptions) -> std::result::Result<Setup, String> {
    Ok(Setup {
        cid_length: options.cid_length as usize,
        transport: Transport {
            idle_timeout_ms: options.idle_timeout_ms,
            handshake_timeout_ms: options.handshake_timeout_ms,
            keep_alive_ms: options.keep_alive_ms,
            max_bidirectional_streams: options.max_bidirectional_streams,
            max_unidirectional_streams: options.max_unidirectional_streams,
            stream_receive_window: options.stream_receive_window,
            receive_window: options.receive_window,
            send_window: options.send_window,
            datagram_receive_buffer: options.datagram_receive_buffer,
            datagram_send_buffer: options.datagram_send_buffer,
            max_udp_payload: u16::try_from(options.max_udp_payload).unwrap_or(u16::MAX),
            congestion: match options.congestion.as_str() {
                "cubic" => Congestion::Cubic,
                "newReno" => Congestion::NewReno,
                "bbr" => Congestion::Bbr,
                other => return Err(format!("unknown congestion controller: {other}")),
            },
            floor_bits_per_second: options.floor_bits_per_second,
            initial_rtt_ms: options.initial_rtt_ms,
        },
        alpn: options.alpn.into_iter().map(String::into_bytes).collect(),
        secret: match options.secret {
            Some(secret) => <[u8; 32]>::try_from(&secret[..]).map_err(|_| "the secret has 32 bytes")?,
            None => Setup::random_secret()?,
        },
        identity: options.identity.map(Identity::from),
        max_connections: options.max_connections as usize,
    })
}

/// Numbers that no stream has become one that none has either.
fn stream_number(value: f64) -> u64 {
    if value.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&value) { value as u64 } else { u64::MAX }
}

fn var_int(value: f64) -> Result<VarInt> {
    // Up to 2^53 an f64 is exact; TypeScript takes no more.
    if value.fract() != 0.0 || !(0.0..9_007_199_254_740_992.0).contains(&value) {
        return Err(invalid("a code is an integer from 0 to 2^53 - 1"));
    }
    VarInt::from_u64(value as u64).map_err(invalid)
}

fn invalid(reason: impl std::fmt::Display) -> Error {
    Error::new(Status::InvalidArg, reason.to_string())
}

fn bad_call(bad: BadCall) -> Error {
    invalid(bad.0)
}
