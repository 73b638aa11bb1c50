//! ipmp
fn main() {}
