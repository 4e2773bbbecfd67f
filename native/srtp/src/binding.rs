//! The key as a JavaScript class (`packages/transceiver/src/webrtc/srtp-suite.ts`).
use napi::bindgen_prelude::{BufferSlice, Error, Result};
use napi_derive::napi;

use crate::gcm::{Gcm, Layout};

/// A session key.
#[napi]
pub struct GcmKey {
    gcm: Gcm,
}

#[napi]
impl GcmKey {
    /// 16 and 12 octets.
    #[napi(constructor)]
    pub fn new(key: &[u8], salt: &[u8]) -> Result<Self> {
        let gcm =
            Gcm::new(key, salt).ok_or_else(|| Error::from_reason("AES-128-GCM takes 16 octets and a salt of 12"))?;
        Ok(Self { gcm })
    }

    /// Seals `packet` where it lies.
    #[napi]
    pub fn seal(&self, mut packet: BufferSlice, clear: u32, trailer: u32, ssrc_at: u32, index: f64) -> bool {
        self.gcm.seal(&mut packet, layout(clear, trailer, ssrc_at, index))
    }

    /// Opens `packet` where it lies; false when it is not authentic.
    #[napi]
    pub fn open(&self, mut packet: BufferSlice, clear: u32, trailer: u32, ssrc_at: u32, index: f64) -> bool {
        self.gcm.open(&mut packet, layout(clear, trailer, ssrc_at, index))
    }
}

fn layout(clear: u32, trailer: u32, ssrc_at: u32, index: f64) -> Layout {
    Layout { clear: clear as usize, trailer: trailer as usize, ssrc_at: ssrc_at as usize, index: index as u64 }
}
