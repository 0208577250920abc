//! What a test does to a server: actions whose operands are taken modulo what exists, so that every sequence of them is legal.
