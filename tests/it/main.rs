//! Every test that needs more than one file: one binary, so that it links once.

mod cases;
mod client;
mod corpus;
#[cfg(feature = "server")]
mod e2e;
mod examples;
mod exhaustive;
mod hub;
mod lists;
mod properties;
mod protocol;
mod reach;
#[cfg(feature = "server")]
mod repository;
mod scripts;
mod sim;
#[cfg(feature = "server")]
mod sqlite;
mod tables;
mod violations;
