//! One session key and its salt.
use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// Octets of the tag.
pub const TAG: usize = 16;

/// Where the parts of a packet lie: `clear` octets that are only authenticated, the text, the tag, and `trailer` octets that
/// are only authenticated (SRTCP's index word).
#[derive(Clone, Copy)]
pub struct Layout {
    pub clear: usize,
    pub trailer: usize,
    /// Where the SSRC is: 8 for RTP, 4 for RTCP.
    pub ssrc_at: usize,
    /// 48 bits for RTP, 31 for RTCP.
    pub index: u64,
}

/// Seals and opens with one key.
pub struct Gcm {
    key: LessSafeKey,
    salt: [u8; 12],
}

impl Gcm {
    /// `None` for a key that is not 16 octets or a salt that is not 12.
    pub fn new(key: &[u8], salt: &[u8]) -> Option<Self> {
        let key = UnboundKey::new(&AES_128_GCM, key).ok()?;
        Some(Self { key: LessSafeKey::new(key), salt: salt.try_into().ok()? })
    }

    /// Seals where it lies; the tag's place is written. False, with nothing written, when the layout does not fit.
    pub fn seal(&self, packet: &mut [u8], layout: Layout) -> bool {
        let Some((nonce, aad, end)) = self.prepare(packet, layout) else { return false };
        let Some(text) = packet.get_mut(layout.clear..end) else { return false };
        let Ok(tag) = self.key.seal_in_place_separate_tag(nonce, Aad::from(aad.as_slice()), text) else { return false };
        packet[end..end + TAG].copy_from_slice(tag.as_ref());
        true
    }

    /// Opens where it lies; false when the tag does not verify.
    pub fn open(&self, packet: &mut [u8], layout: Layout) -> bool {
        let Some((nonce, aad, end)) = self.prepare(packet, layout) else { return false };
        let Some(text) = packet.get_mut(layout.clear..end + TAG) else { return false };
        self.key.open_in_place(nonce, Aad::from(aad.as_slice()), text).is_ok()
    }

    /// The nonce (RFC 7714 sections 8.1 and 9.1: 00 00 | SSRC | index, exclusive-or the salt), what is only authenticated,
    /// and where the text ends.
    fn prepare(&self, packet: &[u8], layout: Layout) -> Option<(Nonce, Vec<u8>, usize)> {
        let end = packet.len().checked_sub(TAG + layout.trailer)?;
        let ssrc = packet.get(layout.ssrc_at..layout.ssrc_at + 4)?;
        let mut nonce = self.salt;
        for (octet, by) in nonce[2..6].iter_mut().zip(ssrc) {
            *octet ^= by;
        }
        for (octet, by) in nonce[6..].iter_mut().zip(&layout.index.to_be_bytes()[2..]) {
            *octet ^= by;
        }
        let mut aad = Vec::with_capacity(layout.clear + layout.trailer);
        aad.extend_from_slice(packet.get(..layout.clear.min(end))?);
        aad.extend_from_slice(&packet[end + TAG..]);
        (layout.clear <= end).then_some((Nonce::assume_unique_for_key(nonce), aad, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout { clear: 12, trailer: 0, ssrc_at: 8, index: 7 };

    fn gcm() -> Gcm {
        Gcm::new(&[1; 16], &[2; 12]).expect("sizes fit")
    }

    #[test]
    fn what_was_sealed_opens_and_no_bit_of_it_may_change() {
        let mut sealed = vec![0x80; 60];
        assert!(gcm().seal(&mut sealed, LAYOUT));
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!gcm().open(&mut flipped, LAYOUT), "bit {bit}");
        }
        assert!(!gcm().open(&mut sealed.clone(), Layout { index: 8, ..LAYOUT }));
        assert!(gcm().open(&mut sealed, LAYOUT));
        assert_eq!(sealed[..44], [0x80; 44]);
    }

    #[test]
    fn a_layout_that_does_not_fit_is_refused() {
        for size in 0..28 {
            assert!(!gcm().seal(&mut vec![0; size], LAYOUT), "{size}");
            assert!(!gcm().open(&mut vec![0; size], LAYOUT), "{size}");
        }
        assert!(!gcm().seal(&mut [0; 100], Layout { clear: 200, ..LAYOUT }));
        assert!(Gcm::new(&[0; 15], &[0; 12]).is_none());
        assert!(Gcm::new(&[0; 16], &[0; 14]).is_none());
    }
}
