//! More than one group, and members that leave theirs.

use ipmp_common::engine::ids::{GroupId, MemberId};
use ipmp_user::net::{
    apply::{Job, Outcome},
    plan::Wanted,
    spread::leftovers::remove,
};
use serde_json::Value;

use crate::harness::{
    Group, assert_same, dual_stack_pair, in_namespace, interfaces, ip, ip_json, settled, snapshot,
};

const SECOND: GroupId = GroupId(1);

/// Two pairs; the routes of both are in the same lists.
fn two_pairs() -> (Group, Group) {
    interfaces(&["eth0", "eth1", "eth2", "eth3"]);
    for line in [
        "addr add 10.0.0.10/24 brd + dev eth0",
        "addr add 2001:db8::10/64 dev eth0",
        "addr add 10.1.0.10/24 brd + dev eth2",
        "addr add 10.1.0.20/24 brd + dev eth3",
        "addr add 2001:db8:1::10/64 dev eth2",
        "nexthop add id 20 via 10.1.0.2 dev eth2",
        "route append default via 10.1.0.1 dev eth2",
        "route append default via 10.0.0.1 dev eth0",
        "route append default via 10.1.0.3 dev eth3",
        "-6 route append default via fe80::1 dev eth2",
        "-6 route append default via fe80::1 dev eth0",
        "route add 192.0.2.0/24 via 10.1.0.1 dev eth2",
        "route add 203.0.113.0/24 nhid 20",
        "route add 198.51.100.0/24 nexthop via 10.1.0.1 dev eth2 nexthop via 10.1.0.3 dev eth3",
    ] {
        ip(line);
    }
    settled();
    let first = Group::new(&["eth0", "eth1"], &[("10.0.0.10/24", "eth0"), ("2001:db8::10/64", "eth0")]);
    let second = Group::new(
        &["eth2", "eth3"],
        &[("10.1.0.10/24", "eth2"), ("10.1.0.20/24", "eth3"), ("2001:db8:1::10/64", "eth2")],
    );
    (first, second)
}

/// What the second group wants, with numbers of its own.
fn of_second(mut wanted: Wanted) -> Wanted {
    let other = |member: &mut MemberId| member.0 += 10;
    for link in &mut wanted.members {
        link.group = SECOND;
        other(&mut link.member);
    }
    for placed in &mut wanted.data {
        other(&mut placed.home);
        other(&mut placed.on);
    }
    wanted.unusable.iter_mut().chain(&mut wanted.outbound).for_each(other);
    wanted
}

/// Both, carried out by the applier of the first.
struct Two {
    first: Group,
    second: Group,
}

impl Two {
    fn place(&mut self, group: GroupId, wanted: Wanted) -> Outcome {
        let wanted = if group == SECOND { of_second(wanted) } else { wanted };
        let job = Job { group, epoch: 1, wanted, neighbours: std::collections::BTreeMap::new() };
        let outcome = self.first.applier.apply(&job);
        assert_eq!(outcome.errors, []);
        outcome
    }

    fn first(&mut self, failed: &[&str]) -> u32 {
        self.place(GroupId(0), self.first.wanted(failed, "eth1")).changes
    }

    fn second(&mut self, failed: &[&str]) -> u32 {
        self.place(SECOND, self.second.wanted(failed, "eth3")).changes
    }
}

fn everything() -> Vec<Value> {
    let mut all = snapshot();
    all.extend(ip_json("nexthop show"));
    all.extend(rules());
    all
}

fn rules() -> Vec<Value> {
    let mut all = ip_json("-4 rule show");
    all.extend(ip_json("-6 rule show"));
    all
}

#[test]
fn the_first_group_after_a_restart_leaves_what_is_known_of_the_others() {
    in_namespace(|| {
        let (first, second) = two_pairs();
        let before = everything();
        let mut two = Two { first, second };
        assert_eq!((two.first(&[]), two.second(&[])), (0, 0), "at home nothing is to be done");

        two.second(&["eth2"]);
        let away = everything();
        two.first.restart();
        assert_eq!(two.first(&[]), 0, "the other group is none of its business");
        assert_same(&away, &everything(), "after the first group's job");
        assert_eq!(two.second(&["eth2"]), 0, "what it finds is what it left");
        two.second(&[]);
        assert_same(&before, &everything(), "after failback of the second group");

        two.first(&["eth0"]);
        two.second(&["eth2"]);
        two.first.restart();
        two.first(&[]);
        two.first(&["eth0"]);
        two.second(&[]);
        two.first(&[]);
        assert_same(&before, &everything(), "after failback of both");

        two.first(&["eth0"]);
        two.first.restart();
        two.second(&["eth2"]);
        two.second(&[]);
        two.first(&[]);
        assert_same(&before, &everything(), "the second group having been first");
    });
}

#[test]
fn b29_the_first_group_after_a_restart_leaves_the_flows_of_the_others_spread() {
    in_namespace(|| {
        let (mut first, mut second) = two_pairs();
        (first.spreads, second.spreads) = (true, true);
        let mut two = Two { first, second };
        two.first(&[]);
        let one = everything();
        two.second(&[]);
        let both = everything();
        assert!(both.len() > one.len(), "each is spread");
        two.first.restart();
        two.first(&[]);
        assert_same(&both, &everything(), "after the first group's job");
        two.second(&[]);
        assert_same(&both, &everything(), "after the second group's");
        two.second.spreads = false;
        two.second(&[]);
        assert_same(&one, &everything(), "the second group's alone are taken away");
    });
}

#[test]
fn b29_two_daemons_share_the_rules_that_lead_to_their_routes() {
    in_namespace(|| {
        let (mut first, mut second) = two_pairs();
        (first.spreads, second.spreads) = (true, true);
        let before = everything();
        let members = |names: [&str; 2]| Some(names.map(str::to_owned).into());
        second.home();
        let alone = rules();
        first.home();
        let both = everything();
        assert!(rules().len() > alone.len(), "sockets bound to the first pair need rules, too");
        second.home();
        first.home();
        assert_same(&both, &everything(), "neither takes away what the other needs");

        remove(members(["eth0", "eth1"]).as_ref()).expect("what the first made can be removed");
        second.home();
        assert_same(&alone, &rules(), "what is left is what the second needs");
        remove(members(["eth2", "eth3"]).as_ref()).expect("what the second made can be removed");
        assert_same(&before, &everything(), "nothing is left");
    });
}

/// As if a daemon had died before it noted anything of the second group's move, or half-way through it.
#[test]
fn an_unfinished_move_of_a_group_is_not_learned_by_the_job_of_another() {
    in_namespace(|| {
        let (first, second) = two_pairs();
        let before = everything();
        let mut two = Two { first, second };
        two.first(&[]);
        two.second(&[]);
        two.first.restart();
        ip("addr add 10.1.0.10/32 dev eth3");
        ip("route append 192.0.2.0/24 via 10.1.0.1 dev eth3");
        two.first(&[]);
        two.second(&[]);
        assert_same(&before, &everything(), "the second group's job finishes it");
    });
}

fn member_that_left(restart: bool) {
    in_namespace(move || {
        let mut group = dual_stack_pair();
        let before = snapshot();
        group.home();
        group.fail(&["eth0"], "eth1");
        if restart {
            group.restart();
        }
        let mut alone = group.wanted(&[], "");
        alone.members.retain(|link| link.member == MemberId(0));
        let outcome = group.apply(alone.clone());
        assert_eq!(outcome.errors, []);
        assert_same(&before, &snapshot(), "nothing of it stays on the former member");
        // What somebody makes there now is his.
        ip("route add 192.0.2.128/25 via 10.0.0.1 dev eth1 onlink");
        ip("route append default via 10.0.0.1 dev eth1 onlink");
        let his = snapshot();
        assert_eq!(group.apply(alone).changes, 0);
        assert_same(&his, &snapshot(), "a route by a former member");
    });
}

#[test]
fn routes_do_not_stay_on_a_member_that_left() {
    member_that_left(false);
}

#[test]
fn routes_do_not_stay_on_a_member_that_left_before_a_restart() {
    member_that_left(true);
}
