//! Runs actions against the core and the model at once.
