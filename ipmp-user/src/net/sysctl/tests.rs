use super::*;

/// A tree like /proc/sys/net/ipv4/conf.
fn tree(interface: &str, all_rp: &str, own_rp: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory.path().join("conf");
    for (name, rp) in [("all", all_rp), (interface, own_rp)] {
        fs::create_dir_all(root.join(name)).expect("made");
        for (setting, value) in
            [("rp_filter", rp), ("arp_ignore", "0"), ("arp_announce", "0"), ("promote_secondaries", "0")]
        {
            fs::write(root.join(name).join(setting), format!("{value}\n")).expect("written");
        }
    }
    (directory, root)
}

fn value(root: &Path, interface: &str, setting: &str) -> String {
    fs::read_to_string(root.join(interface).join(setting)).expect("read").trim().to_owned()
}

#[test]
fn members_are_prepared_and_restored_by_a_later_daemon() {
    let (directory, root) = tree("eth0.100", "0", "0");
    fs::write(root.join("eth0.100/arp_ignore"), "2\n").expect("written");
    let mut sysctl = Sysctl::with_root(&root, directory.path().join("run"));
    assert_eq!(sysctl.prepare("eth0.100").expect("prepared"), None);
    assert_eq!(value(&root, "eth0.100", "arp_ignore"), "2", "stricter than needed is left");
    assert_eq!(value(&root, "eth0.100", "arp_announce"), "2");
    assert_eq!(value(&root, "eth0.100", "promote_secondaries"), "1");
    drop(sysctl);
    let mut later = Sysctl::with_root(&root, directory.path().join("run"));
    later.prepare("eth0.100").expect("prepared");
    later.restore_of("eth0.100").expect("restored");
    assert_eq!(value(&root, "eth0.100", "arp_announce"), "0");
    assert_eq!(value(&root, "eth0.100", "promote_secondaries"), "0");
}

#[test]
fn values_changed_by_others_are_theirs() {
    let (directory, root) = tree("eth0", "0", "0");
    let mut sysctl = Sysctl::with_root(&root, directory.path().join("run"));
    sysctl.prepare("eth0").expect("prepared");
    fs::write(root.join("eth0/arp_announce"), "1\n").expect("written");
    sysctl.restore_of("eth0").expect("restored");
    assert_eq!(value(&root, "eth0", "arp_announce"), "1");
}

#[test]
fn strict_reverse_path_filtering_is_reported() {
    for (all, own, warned) in
        [("0", "0", false), ("1", "0", true), ("0", "1", true), ("2", "1", false), ("1", "2", false)]
    {
        let (directory, root) = tree("eth0", all, own);
        let warning =
            Sysctl::with_root(&root, directory.path().join("run")).prepare("eth0").expect("prepared");
        assert_eq!(warning.is_some(), warned, "all {all}, own {own}: {warning:?}");
        assert!(warning.is_none_or(|text| text.contains("eth0/rp_filter to 2")));
    }
}

#[test]
fn absent_interface_is_an_error_with_its_path() {
    let (directory, root) = tree("eth0", "0", "0");
    let error = Sysctl::with_root(&root, directory.path().join("run")).prepare("eth9").expect_err("absent");
    assert!(error.to_string().contains("eth9/arp_ignore"), "{error}");
}

#[test]
fn settings_of_an_interface_that_is_no_member_any_more_are_restored() {
    let (directory, root) = tree("eth0", "0", "0");
    let run = directory.path().join("run");
    Sysctl::with_root(&root, &run).prepare("eth0").expect("prepared");
    let mut later = Sysctl::with_root(&root, &run);
    assert_eq!(later.restore_others(|name| name == "eth0").expect("restored"), Restored::default());
    assert_eq!(value(&root, "eth0", "arp_announce"), "2");
    assert_eq!(later.restore_others(|name| name == "eth1").expect("restored").put_back, ["eth0"]);
    assert_eq!(value(&root, "eth0", "arp_announce"), "0");
}

#[test]
fn damaged_memory_of_settings_is_set_aside() {
    let (directory, root) = tree("eth0", "0", "0");
    let run = directory.path().join("run");
    fs::create_dir_all(&run).expect("made");
    fs::write(run.join("sysctl.json"), "{\"ipv4\": {\"eth0\"").expect("written");
    Sysctl::with_root(&root, &run).restore_others(|_| false).expect("nothing to restore");
    assert!(run.join("sysctl.json.damaged").exists());
    assert_eq!(value(&root, "eth0", "arp_announce"), "0");
}

#[test]
fn settings_of_an_interface_that_is_not_there_are_remembered() {
    let (directory, root) = tree("eth0", "0", "0");
    let run = directory.path().join("run");
    Sysctl::with_root(&root, &run).prepare("eth0").expect("prepared");
    fs::rename(root.join("eth0"), root.join("net0")).expect("renamed");
    let restored = Sysctl::with_root(&root, &run).restore_others(|_| false).expect("nothing to restore");
    assert_eq!(restored, Restored { put_back: vec![], absent: vec!["eth0".to_owned()] });
    fs::rename(root.join("net0"), root.join("eth0")).expect("renamed");
    let mut later = Sysctl::with_root(&root, &run);
    assert_eq!(later.restore_others(|_| false).expect("restored").put_back, ["eth0"]);
    assert_eq!(value(&root, "eth0", "arp_announce"), "0");
    assert!(!later.remembers());
}

#[test]
fn b29_the_hash_policy_is_set_while_flows_are_spread_and_put_back_by_a_later_daemon() {
    let directory = tempfile::tempdir().expect("a directory");
    let (net, run) = (directory.path().join("net"), directory.path().join("run"));
    let open = || Sysctl::with_root(net.join("ipv4/conf"), &run);
    let policy = |family: &str| net.join(family).join("fib_multipath_hash_policy");
    let read = |family| fs::read_to_string(policy(family)).expect("read").trim().to_owned();
    fs::create_dir_all(net.join("ipv4/conf")).expect("made");
    fs::write(policy("ipv4"), "0\n").expect("written");
    assert_eq!(open().set_hash_policy(true).expect("set").len(), 1, "there is no IPv6");
    assert!(open().set_hash_policy(true).expect("set").is_empty(), "it is set already");
    assert_eq!((read("ipv4"), open().remembers()), ("1".into(), true));
    assert_eq!(open().set_hash_policy(false).expect("put back").len(), 1);
    assert_eq!((read("ipv4"), open().remembers()), ("0".into(), false));
    // What somebody chose stays, before and after.
    fs::write(policy("ipv4"), "3\n").expect("written");
    assert!(open().set_hash_policy(true).expect("left").is_empty());
    fs::write(policy("ipv4"), "0\n").expect("written");
    open().set_hash_policy(true).expect("set");
    fs::write(policy("ipv4"), "2\n").expect("written");
    assert!(open().set_hash_policy(false).expect("left").is_empty());
    assert_eq!((read("ipv4"), open().remembers()), ("2".into(), false));
}

#[test]
fn what_cannot_be_written_down_is_set_all_the_same_and_written_later() {
    let (directory, root) = tree("eth0", "0", "0");
    let run = directory.path().join("run");
    // In the way of the directory.
    fs::write(&run, "").expect("a file");
    let mut sysctl = Sysctl::with_root(&root, &run);
    sysctl.prepare("eth0").expect("prepared");
    assert_eq!(value(&root, "eth0", "arp_ignore"), "1");
    fs::remove_file(&run).expect("removed");
    sysctl.remember_again();
    assert!(!run.exists(), "not at once");
    sysctl.unwritten = sysctl.unwritten.and_then(|since| since.checked_sub(PAUSE));
    sysctl.remember_again();
    assert_eq!(sysctl.unwritten, None);
    drop(sysctl);
    Sysctl::with_root(&root, &run).restore_of("eth0").expect("restored");
    assert_eq!(value(&root, "eth0", "arp_ignore"), "0");
}
