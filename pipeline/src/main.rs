//! The binary `loupe`.

fn main() {}
