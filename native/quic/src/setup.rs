//! What an endpoint is made of, checked.
use std::{sync::Arc, time::Duration};

use quinn_proto::{
    EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt,
    congestion::{BbrConfig, ControllerFactory, CubicConfig, NewRenoConfig},
};
use ring::{
    hkdf, hmac,
    rand::{SecureRandom, SystemRandom},
};

use crate::{
    cids::Cids,
    clock::Clock,
    tls,
    voice::{Probing, START_PACKETS, VoiceConfig},
};

/// UDP payload that we take: a 1,500-byte packet less IPv4 and UDP headers.
const MAX_RECEIVED_PAYLOAD: u16 = 1472;
/// First Initials that wait for a decision; one batch of datagrams is decided before the next.
const MAX_INCOMING: usize = 1024;
const INCOMING_BUFFER_SIZE: u64 = 16 * 1024;
const INCOMING_BUFFER_SIZE_TOTAL: u64 = 4 * 1024 * 1024;
/// A ClientHello with post-quantum key shares has 1.5 KiB; more than this is no handshake.
const CRYPTO_BUFFER_SIZE: usize = 16 * 1024;

/// Bounds and habits of connections; see `QuicTransportOptions` in TypeScript.
#[allow(missing_docs)]
#[derive(Debug, Clone)]
pub struct Transport {
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
    pub max_udp_payload: u16,
    pub congestion: Congestion,
    pub floor_bits_per_second: u32,
    pub initial_rtt_ms: u32,
}

/// Congestion controllers.
#[allow(missing_docs)]
#[derive(Debug, Clone, Copy)]
pub enum Congestion {
    Cubic,
    NewReno,
    Bbr,
}

/// A certificate chain and its key, DER.
pub struct Identity {
    /// The leaf first.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8.
    pub key: Vec<u8>,
}

/// Everything that an endpoint needs.
pub struct Setup {
    /// Bytes of a connection ID.
    pub cid_length: usize,
    /// For both sides.
    pub transport: Transport,
    /// Protocols, our preference first.
    pub alpn: Vec<Vec<u8>>,
    /// Behind stateless resets and Retry tokens.
    pub secret: [u8; 32],
    /// With it the endpoint accepts connections.
    pub identity: Option<Identity>,
    /// Connections at once.
    pub max_connections: usize,
}

impl Setup {
    /// quinn's settings of the endpoint itself.
    pub fn endpoint_config(&self, cids: &Cids) -> Result<EndpointConfig, String> {
        if self.cid_length > 20 || (self.cid_length < 8 && self.identity.is_some()) {
            return Err(format!("connection ID length out of range: {}", self.cid_length));
        }
        let reset_key = hmac::Key::new(hmac::HMAC_SHA256, &self.derive(b"stateless reset"));
        let mut config = EndpointConfig::new(Arc::new(reset_key));
        let cids = cids.clone();
        config
            .cid_generator(move || Box::new(cids.clone()))
            .supported_versions(vec![1])
            // Its bit tells QUIC from other protocols on our port (RFC 9443), so nobody may clear it (RFC 9287).
            .grease_quic_bit(false)
            .max_udp_payload_size(MAX_RECEIVED_PAYLOAD)
            .map_err(|error| error.to_string())?;
        Ok(config)
    }

    /// quinn's settings of connections.
    pub fn transport_config(&self, probing: &Probing) -> Result<TransportConfig, String> {
        let options = &self.transport;
        if !(1200..=1452).contains(&options.max_udp_payload) {
            return Err(format!("UDP payload out of range: {}", options.max_udp_payload));
        }
        let mut config = TransportConfig::default();
        let idle = Duration::from_millis(options.idle_timeout_ms.into());
        config
            .max_idle_timeout(Some(IdleTimeout::try_from(idle).map_err(|error| error.to_string())?))
            .keep_alive_interval(
                (options.keep_alive_ms > 0).then(|| Duration::from_millis(options.keep_alive_ms.into())),
            )
            .max_concurrent_bidi_streams(options.max_bidirectional_streams.into())
            .max_concurrent_uni_streams(options.max_unidirectional_streams.into())
            .stream_receive_window(VarInt::from_u32(options.stream_receive_window))
            .receive_window(VarInt::from_u32(options.receive_window))
            .send_window(options.send_window.into())
            .datagram_receive_buffer_size(
                (options.datagram_receive_buffer > 0).then_some(options.datagram_receive_buffer as usize),
            )
            .datagram_send_buffer_size(options.datagram_send_buffer as usize)
            .initial_mtu(options.max_udp_payload)
            .min_mtu(options.max_udp_payload)
            .mtu_discovery_config(None)
            .initial_rtt(Duration::from_millis(options.initial_rtt_ms.max(1).into()))
            .crypto_buffer_size(CRYPTO_BUFFER_SIZE)
            // JavaScript sends datagrams one by one, so equal sizes would only be padding.
            .enable_segmentation_offload(false);
        let controller: Arc<dyn ControllerFactory + Send + Sync> = match options.congestion {
            Congestion::Cubic => {
                let mut cubic = CubicConfig::default();
                if options.floor_bits_per_second > 0 {
                    cubic.initial_window(START_PACKETS * u64::from(options.max_udp_payload));
                }
                Arc::new(cubic)
            }
            Congestion::NewReno => Arc::new(NewRenoConfig::default()),
            Congestion::Bbr => Arc::new(BbrConfig::default()),
        };
        let floor = options.floor_bits_per_second;
        config.congestion_controller_factory(Arc::new(VoiceConfig::new(controller, floor, probing.clone())));
        Ok(config)
    }

    /// quinn's settings of accepted connections that are shown `identity`.
    pub fn server_config(
        &self,
        identity: &Identity,
        transport: Arc<TransportConfig>,
        clock: &Clock,
    ) -> Result<ServerConfig, String> {
        let tls = tls::server_config(identity, &self.alpn)?;
        let token_key = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&self.derive(b"retry token"));
        let mut config = ServerConfig::new(Arc::new(tls), Arc::new(token_key));
        config
            .transport_config(transport)
            .migration(true)
            .max_incoming(MAX_INCOMING)
            .incoming_buffer_size(INCOMING_BUFFER_SIZE)
            .incoming_buffer_size_total(INCOMING_BUFFER_SIZE_TOTAL)
            .time_source(Arc::new(clock.clone()));
        Ok(config)
    }

    /// A secret that nobody shares.
    pub fn random_secret() -> Result<[u8; 32], String> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).map_err(|_| "the system has no randomness")?;
        Ok(secret)
    }

    fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        let root = hmac::Key::new(hmac::HMAC_SHA256, &self.secret);
        let mut key = [0; 32];
        key.copy_from_slice(hmac::sign(&root, purpose).as_ref());
        key
    }
}
