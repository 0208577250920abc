//! The naive model: what the server should do, written for clarity alone.
