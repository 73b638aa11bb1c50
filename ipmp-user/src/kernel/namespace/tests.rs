use super::*;

#[test]
fn a_thread_learns_the_same_of_its_namespace_each_time() {
    let first = Namespace::current();
    assert_ne!(first.key(), 0, "{first:?}");
    assert_eq!(Namespace::current(), first);
}
