//! Snapshots of scripted conversations.
