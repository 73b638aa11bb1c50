use super::{
    super::{Entry, parse},
    differences,
};

const BASE: &str = r#"
[group.ipmp0]
[group.ipmp0.interface.eth0]
data = ["192.168.10.10/24"]
[group.ipmp0.interface.eth1]
"#;

fn told(old: &str, new: &str) -> Vec<String> {
    differences(&parse("f", old.as_bytes()).unwrap(), &parse("f", new.as_bytes()).unwrap())
}

#[test]
fn every_key_that_differs_is_told() {
    assert_eq!(told(BASE, &format!("# other words\nfailback = true\n{BASE}")), Vec::<String>::new());
    let group = [
        ("failure-detection-time = \"100ms\"", "failure-detection-time: 10.0 s → 100 ms"),
        ("failback = false", "failback: true → false"),
        ("targets = [\"192.168.10.1\"]", "targets: discovered → 192.168.10.1"),
        ("on-group-failure = \"fail\"", "on-group-failure: keep → fail"),
        ("quiet-period = \"1s\"", "quiet-period: 40.0 s → 1.00 s"),
        ("suspicion = false", "suspicion: true → false"),
        ("outbound-spreading = false", "outbound-spreading: true → false"),
        ("link-down-delay = \"1s\"", "link-down-delay: 0 ns → 1.00 s"),
        ("link-up-delay = \"1s\"", "link-up-delay: 0 ns → 1.00 s"),
        ("failback-delay = \"1s\"", "failback-delay: 0 ns → 1.00 s"),
        ("hold-down = \"1s\"", "hold-down: 0 ns → 1.00 s"),
        ("hold-down-max = \"1h\"", "hold-down-max: 600 s → 3600 s"),
    ];
    for (key, line) in group {
        let new = BASE.replace("[group.ipmp0]\n", &format!("[group.ipmp0]\n{key}\n"));
        assert_eq!(told(BASE, &new), [format!("group ipmp0: {line}")]);
    }
    let interface = [
        ("test = [\"192.168.10.111\"]", "test: none → 192.168.10.111"),
        ("data = [\"192.168.10.11/24\"]", "data: those found on it → 192.168.10.11/24"),
        ("standby = true", "standby: false → true"),
    ];
    for (key, line) in interface {
        assert_eq!(told(BASE, &format!("{BASE}{key}\n")), [format!("group ipmp0: eth1: {line}")]);
    }
    let more = format!("{BASE}[group.lab.interface.eth2]\n");
    assert_eq!(told(BASE, &more), ["group lab: added, with eth2"]);
    assert_eq!(told(&more, BASE), ["group lab: removed; its addresses stay where they are"]);
    let members = format!("{BASE}[group.ipmp0.interface.eth2]\n");
    assert_eq!(told(BASE, &members), ["group ipmp0: interfaces: eth0, eth1 → eth0, eth1, eth2"]);
}

#[test]
fn what_takes_a_restart_says_why() {
    let lines = told(
        BASE,
        &format!("boot-wait = \"1s\"\n[daemon]\nreal-time-priority = 20\ncontrol-group = \"adm\"\n{BASE}"),
    );
    assert_eq!(
        lines,
        [
            "real-time-priority: 10 → 20; not before ipmpd is restarted: its threads take their priority when they start",
            "control-group: none → adm; not before ipmpd is restarted: the control socket gets its group when it is made",
            "boot-wait: 10.0 s → 1.00 s; counts from the next start on",
        ]
    );
    let tracked = format!("track-interfaces-only-with-groups = false\n{BASE}");
    assert_eq!(told(BASE, &tracked), ["track-interfaces-only-with-groups: true → false"]);
}

#[test]
fn an_entry_is_what_the_checker_reads() {
    let entry = Entry {
        interface: "eth0.100".into(),
        group: "a \"b\\".into(),
        standby: true,
        data: Some(vec!["10.0.0.1/24".into()]),
        test: vec!["10.0.0.2".into(), "10.0.0.3".into()],
    };
    let text = entry.add_to("[group.ipmp0.interface.eth0]").unwrap();
    assert!(text.starts_with("[group.ipmp0.interface.eth0]\n\n"), "{text}");
    let entry = Entry { group: "ipmp0".into(), ..entry };
    let config = parse("f", entry.add_to(BASE).unwrap().as_bytes()).unwrap();
    let last = config.engine.groups[0].interfaces.last().unwrap();
    assert_eq!((last.name.as_str(), last.standby, last.test.len()), ("eth0.100", true, 2));
    // Nothing said of data: those found on it; no list at all is another thing.
    let bare = Entry { data: None, test: Vec::new(), standby: false, ..entry.clone() };
    assert!(!bare.add_to("").unwrap().contains("data"));
    let none = Entry { data: Some(Vec::new()), ..entry };
    assert!(none.add_to("").unwrap().contains("data = []"));
    // Whatever is written, it is a string and no TOML.
    let wild = Entry {
        test: vec!["\"]\nx = [\"".into()],
        ..Entry { group: "g".into(), interface: "e".into(), ..Entry::default() }
    };
    assert!(parse("f", wild.add_to(BASE).unwrap().as_bytes()).unwrap_err().to_string().contains("test"));
}

#[test]
fn b7_an_entry_joins_its_group_however_that_is_written() {
    let entry = Entry { interface: "eth2".into(), group: "g".into(), standby: true, ..Entry::default() };
    for text in [
        "# ours\n[group.g]\nfailback = false # so\n\n[group.g.interface.eth0]\n\n[group.z.interface.eth1]\n",
        "[group]\ng = { failback = false, interface = { eth0 = {} } } # so\n\n[group.z.interface.eth1]\n",
        "group.g = { interface.eth0 = {} }\ngroup.z = { interface = { eth1 = { standby = true } } }\n",
        "group.g.failback = false\ngroup.g.interface.eth0.standby = false # so\n",
        "[group.g.interface]\neth0 = {}\n",
        "group = { g = { interface = { eth0 = { standby = false } } } }\n",
    ] {
        let with = entry.add_to(text).unwrap();
        let config = parse("f", with.as_bytes()).unwrap_or_else(|error| panic!("{text}{with}{error}"));
        let names: Vec<&str> =
            config.engine.groups[0].interfaces.iter().map(|interface| interface.name.as_str()).collect();
        assert_eq!(names, ["eth0", "eth2"], "{with}");
        assert!(config.engine.groups[0].interfaces[1].standby, "{with}");
        for line in text.lines().filter(|line| line.contains('#')) {
            assert!(with.contains(line.split_once('#').unwrap().1), "{line} in {with}");
        }
        assert_eq!(entry.add_to(&with), None, "once");
    }
    let broken = "[group.g\n";
    assert_eq!(entry.add_to(broken).unwrap(), broken, "its reader says why");
}
