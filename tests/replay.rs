//! Golden replay: recordings in `replay/` run through the engine and must lead to the same actions. A bug report
//! with a recording of `ipmpd --record` becomes a test by being put there.
//!
//! After a wanted change of the engine `IPMP_BLESS=1 cargo test --test replay` writes the actions anew: look at the
//! difference before you commit it.

#![expect(clippy::expect_used, clippy::panic, reason = "a failed expectation fails the test")]

use std::{
    fs::{self, File},
    io::BufReader,
    path::PathBuf,
};

use ipmp_common::engine::{
    ids::MemberId,
    sim::{Lab, Setup, V4_TARGET, a, b, ms, secs},
};
use ipmp_user::recorder::{Line, record, replay};

fn dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("replay")
}

fn text(lines: &[Line]) -> String {
    lines.iter().map(|line| serde_json::to_string(line).expect("JSON") + "\n").collect()
}

/// Simulated stories of which recordings are kept.
fn stories() -> Vec<(&'static str, Lab)> {
    let base = || {
        let mut setup = Setup::probed(2);
        (setup.fdt, setup.suspicion) = (ms(100), true);
        setup
    };
    let mut path_cut = Lab::settled(base());
    path_cut.cut(a());
    path_cut.run(ms(300));
    path_cut.mend(a());
    path_cut.run(ms(300));
    let mut standby = Lab::settled(base().standby(MemberId(1)).without_failback());
    standby.set_carrier(a(), false);
    standby.run(ms(200));
    standby.set_carrier(a(), true);
    standby.run(ms(400));
    let mut gateway = Lab::settled(base());
    gateway.wire.dead_targets.insert(V4_TARGET);
    gateway.run(ms(300));
    gateway.wire.dead_targets.clear();
    gateway.run(ms(300));
    let mut stall = Lab::settled(base());
    stall.cut(b());
    stall.run(ms(40));
    stall.stall(secs(2));
    stall.run(secs(2) + ms(200));
    vec![("path-cut", path_cut), ("standby-takes-over", standby), ("gateway-dies", gateway), ("stall", stall)]
}

fn bless() {
    for (name, lab) in stories() {
        let file = dir().join(name).with_extension("jsonl");
        if !file.exists() {
            fs::write(file, text(&record(&lab.setup.config(), lab.events.clone()))).expect("written");
        }
    }
    for entry in fs::read_dir(dir()).expect("the recordings") {
        let file = entry.expect("an entry").path();
        let old = fs::read_to_string(&file).expect("a recording");
        let lines: Vec<Line> = old.lines().map(|line| serde_json::from_str(line).expect("a line")).collect();
        let Some(Line::Start { config, .. }) = lines.first() else { panic!("{}", file.display()) };
        let events = lines.iter().filter_map(|line| match line {
            Line::In { t_ns, event } => Some((*t_ns, event.clone())),
            Line::Start { .. } | Line::Out(_) | Line::Dropped(_) => None,
        });
        fs::write(&file, text(&record(config, events))).expect("written");
    }
}

#[test]
fn every_recording_leads_to_the_same_actions() {
    if std::env::var_os("IPMP_BLESS").is_some() {
        bless();
    }
    let mut recordings = 0;
    for entry in fs::read_dir(dir()).expect("the recordings") {
        let file = entry.expect("an entry").path();
        let replayed = replay(BufReader::new(File::open(&file).expect("a recording")));
        let replayed = replayed.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(replayed.events > 0 && replayed.actions > 0, "{} shows nothing", file.display());
        assert_eq!(replayed.surplus, 0, "{} asks for more than was recorded", file.display());
        recordings += 1;
    }
    assert!(recordings >= stories().len(), "recordings are missing");
}
