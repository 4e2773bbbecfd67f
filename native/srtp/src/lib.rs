//! AES-128-GCM for SRTP and SRTCP (RFC 7714), by `ring`: a packet is sealed or opened where it lies, without the objects
//! that Node's ciphers make for each. The code is without `unsafe`; only what napi's macros write in `binding` needs it.
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[cfg(not(test))]
#[allow(unsafe_code, missing_docs)]
mod binding;
#[forbid(unsafe_code)]
mod gcm;
