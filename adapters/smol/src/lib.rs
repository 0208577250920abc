//! parlor on smol.
