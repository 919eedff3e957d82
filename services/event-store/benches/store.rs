//! The `store` bench.

fn main() {}
