use super::*;

fn claims<'a>(groups: impl IntoIterator<Item = &'a str>) -> Result<Claims> {
    let mut claims = Claims::default();
    claims.add(groups.into_iter()).map(|()| claims)
}

#[test]
fn a_name_is_held_once_and_ends_with_its_holder() {
    let group = format!("test{}", std::process::id());
    let first = claims([group.as_str(), ""]).expect("nobody has it");
    let second = claims([group.as_str()]);
    if may_move_addresses(std::process::id().cast_signed()) {
        assert!(second.expect_err("taken").to_string().contains(&group));
    } else {
        drop(second.expect("a process without capabilities keeps nobody from it"));
    }
    drop(first);
    drop(claims([group.as_str()]).expect("free again"));
}
