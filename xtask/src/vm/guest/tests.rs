use super::*;

#[test]
fn words_reach_the_shell_unchanged() {
    for word in ["plain", "two words", "it's", "$HOME `x` \\ \"", "", "line\nbreak"] {
        let mut command = b"printf %s ".to_vec();
        command.extend_from_slice(&quoted(OsStr::new(word)));
        let output =
            std::process::Command::new("sh").arg("-c").arg(OsStr::from_bytes(&command)).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), word);
    }
}

#[test]
fn a_command_changes_to_its_directory_before_it_runs() {
    let command = Command::new(Path::new("/a b"), &["echo", "it's"]);
    let text = String::from_utf8_lossy(&command.script);
    assert!(text.ends_with("cd '/a b' || exit 125\n'echo' 'it'\\''s'\n"), "{text}");
}

#[test]
fn secrets_in_the_environment_stay_on_the_host() {
    assert!(is_kept("IPMP_BIN_DIR") && is_kept("PATH") && is_kept("RUST_BACKTRACE"));
    assert!(!is_kept("SSH_AUTH_SOCK") && !is_kept("GITHUB_TOKEN"));
    assert!(!is_kept("CARGO_REGISTRY_TOKEN"));
}

#[test]
fn a_line_may_be_put_first() {
    let mut command = Command::new(Path::new("/"), &["second"]);
    command.first(&["first"]);
    let text = String::from_utf8_lossy(&command.script);
    assert!(text.starts_with("'first'\n") && text.ends_with("'second'\n"), "{text}");
}
