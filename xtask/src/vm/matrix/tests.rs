use super::*;

#[test]
fn only_the_probes_lines_are_read() {
    let found = parse(
        "running\ncapability: tcx: no: needs 6.6: `tcx` is unknown\ncapability: netem: yes\n\
               capability: carrier: is: fentry\n",
    )
    .unwrap();
    assert_eq!(
        found,
        [
            Capability {
                name: "tcx".into(),
                verdict: Verdict::No,
                why: "needs 6.6: `tcx` is unknown".into()
            },
            Capability { name: "netem".into(), verdict: Verdict::Yes, why: String::new() },
            Capability { name: "carrier".into(), verdict: Verdict::Is, why: "fentry".into() },
        ]
    );
}

#[test]
fn a_probe_that_reports_nothing_or_nonsense_is_an_error() {
    assert!(parse("all fine\n").is_err());
    assert!(parse("capability: tcx: perhaps: \n").is_err());
    assert!(parse("capability: tcx\n").is_err());
}

#[test]
fn the_table_explains_each_refusal_once() {
    let no = |why: &str| Capability { name: "tcx".into(), verdict: Verdict::No, why: why.into() };
    let yes = Capability { name: "tcx".into(), verdict: Verdict::Yes, why: String::new() };
    let netem = Capability { name: "netem".into(), verdict: Verdict::Yes, why: String::new() };
    let ran = Counts { passed: 7, failed: 0, skipped: 1 };
    let columns = [
        Column { kernel: "5.10".into(), capabilities: vec![no("too old")], tests: Vec::new() },
        Column { kernel: "6.1".into(), capabilities: vec![no("too old")], tests: Vec::new() },
        Column { kernel: "6.12".into(), capabilities: vec![yes, netem], tests: vec![("ebpf".into(), ran)] },
    ];
    assert_eq!(
        render(&columns),
        "| | 5.10 | 6.1 | 6.12 |\n|---|---|---|---|\n| tcx | no (1) | no (1) | yes |\n\
         | netem | not tried | not tried | yes |\n\
         | tests: ebpf | not tried | not tried | 7 passed, 0 failed, 1 skipped |\n\n1. too old\n"
    );
}
