//! Every test that needs more than one file: one binary, so that it links once.

mod hub;
mod properties;
mod repository;
mod scripts;
mod tables;
