//! Every test that needs more than one file: one binary, so that it links once.

mod cases;
mod client;
mod corpus;
mod e2e;
mod exhaustive;
mod hub;
mod lists;
mod properties;
mod reach;
mod repository;
mod scripts;
mod sqlite;
mod tables;
mod violations;
