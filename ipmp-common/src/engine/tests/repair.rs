//! From answered probes to a repaired member: sections 5.4 and 15 of the behaviour.

use super::harness::{Lab, Loss, Setup, a, b, ms, secs};
use crate::engine::{
    event::Event,
    ids::Family,
    reason::{Kind, Reason},
    snapshot::ShownState,
};

fn with_a_failed(setup: Setup) -> Lab {
    let mut lab = Lab::settled(setup);
    lab.cut(a());
    lab.run(secs(2));
    assert_eq!(lab.state(a()), ShownState::Failed);
    lab
}

#[test]
fn a15_ten_replies_repair() {
    let mut lab = with_a_failed(Setup::probed(2));
    lab.set_loss(a(), Loss::Pass(10));
    assert!(lab.run_until(ms(1200), |lab| lab.count(Kind::Repaired, a()) > 0));
    let reason = &lab.records(Kind::Repaired)[0].reason;
    assert!(matches!(reason, Reason::ProbesAnswered { replies: 10, family: Family::V4, .. }), "{reason:?}");
    assert_eq!(lab.places(), [a(), b()]);
}

#[test]
fn a15_nine_replies_do_not() {
    let mut lab = with_a_failed(Setup::probed(2));
    lab.set_loss(a(), Loss::Pass(9));
    lab.run(secs(5));
    assert_eq!(lab.count(Kind::Repaired, a()), 0);
    assert_eq!(lab.places(), [b(), b()]);
}

#[test]
fn a15_a_loss_begins_the_count_anew() {
    let mut lab = with_a_failed(Setup::probed(2));
    lab.set_loss(a(), Loss::Pass(9));
    lab.run(ms(1200));
    lab.mend(a());
    lab.run(ms(800));
    assert_eq!(lab.state(a()), ShownState::Failed);
    lab.run(ms(400));
    assert_eq!(lab.state(a()), ShownState::Ok);
}

#[test]
fn repairing_needs_one_family() {
    for v4 in [true, false] {
        let mut lab = with_a_failed(Setup::dual_stack(2));
        lab.mend(a());
        let port = &mut lab.wire.ports[0];
        (port.no_v4, port.no_v6) = (!v4, v4);
        lab.run(ms(1200));
        assert_eq!(lab.state(a()), ShownState::Ok);
        let repaired = lab.records(Kind::Repaired);
        let answered = if v4 { Family::V4 } else { Family::V6 };
        let [Reason::ProbesAnswered { replies: 10, family, .. }] = [&repaired[0].reason] else {
            panic!("{repaired:?}")
        };
        assert_eq!(*family, answered);
    }
}

#[test]
fn link_up_alone_does_not_repair_a_probed_member() {
    let mut lab = Lab::settled(Setup::probed(2));
    lab.set_carrier(a(), false);
    lab.run(secs(1));
    lab.set_carrier(a(), true);
    lab.run(ms(800));
    assert_eq!(lab.state(a()), ShownState::Failed);
    lab.run(ms(500));
    assert_eq!(lab.state(a()), ShownState::Ok);
    assert_eq!(lab.places(), [a(), b()]);
}

#[test]
fn a_failed_member_whose_targets_are_lost_stays_failed() {
    let mut setup = Setup::probed(2);
    let targets = core::mem::take(&mut setup.targets);
    let mut lab = Lab::start(setup);
    let group = super::harness::GROUP;
    lab.tell(Event::Targets { group, family: Family::V4, targets: targets.clone() });
    lab.run(secs(2));
    lab.cut(a());
    lab.run(secs(2));
    assert_eq!(lab.state(a()), ShownState::Failed);
    lab.tell(Event::Targets { group, family: Family::V4, targets: alloc::vec![] });
    lab.run(secs(2));
    assert_eq!(lab.state(a()), ShownState::Failed, "losing the targets repairs nothing");
    lab.tell(Event::Targets { group, family: Family::V4, targets });
    lab.mend(a());
    lab.run(secs(2));
    assert_eq!(lab.state(a()), ShownState::Ok);
}

#[test]
fn a_failed_member_without_test_address_is_judged_by_its_link() {
    let mut lab = with_a_failed(Setup::probed(2));
    lab.tell(Event::TestAddress { member: a(), family: Family::V4, address: None });
    lab.run(ms(1));
    assert_eq!(lab.count(Kind::Repaired, a()), 1);
    assert_eq!(lab.places(), [a(), b()]);
}

#[test]
fn a_link_failure_without_targets_is_repaired_by_the_link() {
    let mut setup = Setup::probed(2);
    setup.targets.clear();
    let mut lab = Lab::settled(setup);
    assert_eq!(lab.state(a()), ShownState::Unknown);
    lab.set_carrier(a(), false);
    lab.run(secs(1));
    assert_eq!(lab.state(a()), ShownState::Failed);
    lab.set_carrier(a(), true);
    lab.run(ms(1));
    assert_eq!(lab.state(a()), ShownState::Unknown);
    assert_eq!(lab.places(), [a(), b()]);
}
