use super::*;

#[test]
fn a_name_is_held_once_and_ends_with_its_holder() {
    let group = format!("test{}", std::process::id());
    let first = Claims::of([group.as_str(), ""].into_iter()).expect("nobody has it");
    let second = Claims::of([group.as_str()].into_iter());
    if may_move_addresses(std::process::id().cast_signed()) {
        assert!(second.expect_err("taken").to_string().contains(&group));
    } else {
        drop(second.expect("a process without capabilities keeps nobody from it"));
    }
    drop(first);
    drop(Claims::of([group.as_str()].into_iter()).expect("free again"));
}
