use serde_json::json;

use super::*;

fn artifact(kind: &str, package: &str) -> Value {
    json!({
        "reason": "compiler-artifact",
        "manifest_path": format!("/somewhere/{package}/Cargo.toml"),
        "target": {"name": "netns", "kind": [kind]},
        "profile": {"test": true},
        "executable": "/somewhere/target/debug/deps/netns-0123",
    })
}

#[test]
fn only_integration_tests_of_the_harness_package_need_root() {
    let needs = |kind, package| test_binary(&artifact(kind, package)).map(|binary| binary.needs_root());
    assert_eq!(needs("test", "tests"), Some(true));
    assert_eq!(needs("lib", "tests"), Some(false));
    assert_eq!(needs("test", "ipmp-user"), Some(false));
}

#[test]
fn what_is_no_test_binary_is_passed_over() {
    let mut plain = artifact("lib", "ipmp-user");
    plain["profile"]["test"] = json!(false);
    assert_eq!(test_binary(&plain), None);
    let mut without_executable = artifact("lib", "ipmp-user");
    without_executable["executable"] = Value::Null;
    assert_eq!(test_binary(&without_executable), None);
    assert_eq!(test_binary(&json!({"reason": "build-finished"})), None);
}
