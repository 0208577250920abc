//! Conversations as text: a script goes in, a transcript comes out.
