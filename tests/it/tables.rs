//! Snapshots of the tables that clients rely on.
