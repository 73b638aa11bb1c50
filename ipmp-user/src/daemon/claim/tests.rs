use super::*;

fn config(group: &str, interface: &str) -> Config {
    let text = format!("[group.{group}.interface.{interface}]\ntest = [\"192.0.2.1\"]\n");
    crate::config::parse("ipmpd.toml", text.as_bytes()).expect("it is valid").engine
}

fn claims(config: &Config) -> Result<Claims> {
    let mut claims = Claims::default();
    claims.add(config).map(|()| claims)
}

/// A process without capabilities keeps nobody from a name.
fn refused(config: &Config, what: &str) {
    let second = claims(config);
    if may_move_addresses(std::process::id().cast_signed()) {
        assert!(second.expect_err("taken").to_string().contains(what));
    } else {
        drop(second.expect("a process without capabilities keeps nobody from it"));
    }
}

#[test]
fn a_name_is_held_once_and_ends_with_its_holder() {
    let name = |letter: char| format!("{letter}{}", std::process::id());
    let first = claims(&config(&name('g'), &name('i'))).expect("nobody has it");
    refused(&config(&name('g'), &name('j')), &format!("group {}:", name('g')));
    refused(&config(&name('h'), &name('i')), &format!("interface {}:", name('i')));
    drop(first);
    drop(claims(&config(&name('g'), &name('i'))).expect("free again"));
}

#[test]
fn what_a_configuration_names_no_longer_is_free() {
    let name = |letter: char| format!("{letter}{}", std::process::id());
    let mut first = claims(&config(&name('k'), &name('l'))).expect("nobody has it");
    let other = config(&name('k'), &name('m'));
    first.add(&other).expect("nobody has it");
    first.keep(&other);
    drop(claims(&config(&name('n'), &name('l'))).expect("free"));
    refused(&config(&name('n'), &name('m')), &format!("interface {}:", name('m')));
}
