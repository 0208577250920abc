//! The harness that proves parlor, as a library: what the drivers in `it/` and the fuzz targets in
//! `fuzz/` share.

pub mod action;
pub mod certificate;
pub mod client;
pub mod dice;
pub mod driven_hub;
pub mod fuzz;
pub mod metrics;
pub mod model;
pub mod observe;
pub mod run;
pub mod script;
pub mod server;
pub mod taped;
pub mod virtual_socket;
