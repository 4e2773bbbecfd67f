//! The QUIC engine of Sluice: `quinn-proto` as a sans-IO object for Node. Nothing here opens a socket, reads a clock or sets a
//! timer; the TypeScript side (`packages/transceiver/src/webtransport/native-endpoint.ts`) hands in datagrams and times.
//!
//! The engine is plain Rust without `unsafe`; only the code that napi's macros write in `binding` needs it.
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[forbid(unsafe_code)]
mod cids;
#[forbid(unsafe_code)]
mod clock;
#[forbid(unsafe_code)]
mod connection;
#[forbid(unsafe_code)]
mod endpoint;
#[forbid(unsafe_code)]
mod probation;
#[forbid(unsafe_code)]
mod records;
#[forbid(unsafe_code)]
mod setup;
#[cfg(test)]
#[forbid(unsafe_code)]
mod tests;
#[forbid(unsafe_code)]
mod tls;
#[forbid(unsafe_code)]
mod voice;
#[forbid(unsafe_code)]
mod watch;

#[allow(unsafe_code, missing_docs)]
#[cfg_attr(test, allow(dead_code))] // its macros do nothing there
mod binding;
