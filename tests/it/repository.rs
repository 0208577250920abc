//! The repository itself: ARCHITECTURE.md, the checks and the tests name the same invariants.
