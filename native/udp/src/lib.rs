//! UDP sockets for Node that move many datagrams with one crossing from JavaScript and one system call: `recvmmsg`,
//! `sendmmsg`, and segmentation (UDP_SEGMENT) for runs of one size to one peer. Linux only; elsewhere the addon is empty.
//!
//! A socket is made here; Node adopts a duplicate of its descriptor (`dgram`'s `bind({ fd })`) and is woken by that, so no
//! thread stands between. The code is plain Rust without `unsafe`; only what napi's macros write in `binding` needs it.
#![deny(unsafe_code)]
#![warn(missing_docs)]

#[cfg(all(target_os = "linux", not(test)))]
#[allow(unsafe_code, missing_docs)]
mod binding;
#[cfg(target_os = "linux")]
#[forbid(unsafe_code)]
mod socket;
