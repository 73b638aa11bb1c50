//! ipmpd
fn main() {}
