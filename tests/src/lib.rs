//! The harness that proves parlor, as a library: what the drivers in `it/` and the fuzz targets in
//! `fuzz/` share. Without the feature `server` it has no sockets, runtime, TLS or disk.

pub mod action;
pub mod canonical;
#[cfg(feature = "server")]
pub mod certificate;
#[cfg(feature = "server")]
pub mod client;
pub mod dice;
pub mod driven_hub;
pub mod fuzz;
pub mod logs;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod run;
pub mod script;
#[cfg(feature = "server")]
pub mod server;
pub mod sim;
pub mod taped;
pub mod virtual_socket;

/// The examples of the README, which therefore work.
#[cfg(all(doctest, feature = "server"))]
#[doc = include_str!("../../README.md")]
struct Readme;
