//! Policy rules that name the interface by which packets come in (`iif`).
//!
//! What was sent to the addresses of a member comes in by its stand-in as long as these are away, and a rule of the member
//! no longer selects it. A copy of ours for the stand-in stands behind it for that time, of equal priority and known by its
//! protocol number; the rules of others are never touched. `oif` selects what sockets send that are bound to an interface;
//! these stay bound to it, so that there is nothing to follow.

use std::collections::{BTreeMap, BTreeSet};

use rtnetlink::{
    packet_core::{NLM_F_CREATE, NLM_F_EXCL},
    packet_route::RouteNetlinkMessage,
};

use super::{
    NetError,
    apply::Failure,
    base::Base,
    inventory::Inventory,
    plan::Wanted,
    rule::Rule,
    socket::{Body, Request, Socket},
};

/// `FRA_PROTOCOL` of our copies, which no `RTPROT_*` of include/uapi/linux/rtnetlink.h is.
pub const PROTO_RULE: u8 = super::MARK + 1;

/// The stand-ins of each member some of whose addresses are away, by name.
type StandIns = BTreeMap<String, BTreeSet<String>>;

/// Makes the copies what they shall be. Returns what the kernel refused.
pub(super) fn follow(
    socket: &mut Socket,
    inventory: &Inventory,
    base: &Base,
    wanted: &Wanted,
) -> Vec<Failure> {
    let stand_ins = stand_ins(inventory, base, wanted);
    let changes = changes(&inventory.ours.rules, &stand_ins, &base.ordered(inventory, wanted));
    let requests: Vec<Request> = changes.iter().map(|(rule, change)| request(rule, *change)).collect();
    let results = socket.batch(&requests);
    let refused = changes.iter().zip(results).filter_map(|((rule, change), result)| {
        let satisfied = |error: &NetError| matches!(error.errno(), libc::EEXIST | libc::ENOENT);
        let error = result.err().filter(|error| !satisfied(error))?;
        let what = format!("{change:?} a policy rule for iif {}", rule.iif().unwrap_or_default());
        Some(Failure::of(what, &error))
    });
    refused.collect()
}

fn stand_ins(inventory: &Inventory, base: &Base, wanted: &Wanted) -> StandIns {
    let mut stand_ins = StandIns::new();
    for placed in wanted.data.iter().filter(|placed| placed.on != placed.home) {
        let name = |member| Some(inventory.link(wanted.ifindex(member)?)?.name.clone());
        let known = || base.original(placed.address.addr()).map(|original| original.home.clone());
        if let (Some(home), Some(on)) = (name(placed.home).or_else(known), name(placed.on)) {
            stand_ins.entry(home).or_default().insert(on);
        }
    }
    stand_ins
}

/// Our copies that are too many, then those that are missing. Of ours, those on other interfaces than these are left.
fn changes(rules: &[Rule], stand_ins: &StandIns, ordered: &BTreeSet<String>) -> Vec<(Rule, Change)> {
    let (ours, others): (Vec<&Rule>, Vec<&Rule>) = rules.iter().partition(|rule| rule.is_by(PROTO_RULE));
    // "not" selects all but what comes in there, which a rule for another interface cannot say.
    let copies = others.into_iter().filter(|rule| !rule.is_inverted()).flat_map(|rule| {
        let stand_ins = rule.iif().and_then(|name| stand_ins.get(name));
        stand_ins.into_iter().flatten().map(|on| rule.copy_for(on, PROTO_RULE))
    });
    let copies: Vec<Rule> = copies.collect();
    let is_ordered = |rule: &Rule| rule.iif().is_some_and(|name| ordered.contains(name));
    let surplus = ours.iter().filter(|rule| !copies.contains(rule) && is_ordered(rule));
    let missing = copies.iter().filter(|copy| !ours.contains(copy));
    surplus
        .map(|rule| ((*rule).clone(), Change::Delete))
        .chain(missing.map(|rule| (rule.clone(), Change::Add)))
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Add,
    Delete,
}

fn request(rule: &Rule, change: Change) -> Request {
    let (message, flags) = match change {
        Change::Add => (RouteNetlinkMessage::NewRule(rule.request()), NLM_F_CREATE | NLM_F_EXCL),
        Change::Delete => (RouteNetlinkMessage::DelRule(rule.request()), 0),
    };
    Request { message: Body::Known(message), flags }
}
