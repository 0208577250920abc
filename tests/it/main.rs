//! Every test that needs more than one file: one binary, so that it links once.

mod e2e;
mod properties;
mod repository;
mod scripts;
mod tables;
