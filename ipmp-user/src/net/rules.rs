//! Policy rules that name the interface by which packets come in (`iif`).
//!
//! What was sent to the addresses of a member comes in by its stand-in as long as these are away, and a rule of the member
//! no longer selects it. A copy of ours for the stand-in stands behind it for that time, of equal priority and known by its
//! protocol number; the rules of others are never touched. `oif` selects what sockets send that are bound to an interface;
//! these stay bound to it, so that there is nothing to follow.

use std::collections::{BTreeMap, BTreeSet};

use rtnetlink::{
    packet_core::{NLM_F_CREATE, NLM_F_EXCL},
    packet_route::{
        RouteNetlinkMessage,
        route::RouteProtocol,
        rule::{RuleAttribute, RuleFlags, RuleMessage},
    },
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
    let rules: Vec<RuleMessage> = inventory.ours.rules.iter().map(Rule::request).collect();
    let changes = changes(&rules, &stand_ins(inventory, base, wanted), &base.ordered(inventory, wanted));
    let requests: Vec<Request> = changes.iter().map(|(message, flags)| request(message, *flags)).collect();
    let results = socket.batch(&requests);
    let refused = changes.iter().zip(results).filter_map(|((rule, change), result)| {
        let satisfied = |error: &NetError| matches!(error.errno(), libc::EEXIST | libc::ENOENT);
        let error = result.err().filter(|error| !satisfied(error))?;
        let what = format!("{change:?} a policy rule for iif {}", iif(rule).unwrap_or_default());
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
fn changes(
    rules: &[RuleMessage],
    stand_ins: &StandIns,
    ordered: &BTreeSet<String>,
) -> Vec<(RuleMessage, Change)> {
    let (ours, others): (Vec<&RuleMessage>, Vec<&RuleMessage>) = rules.iter().partition(|rule| is_ours(rule));
    // "not" selects all but what comes in there, which a rule for another interface cannot say.
    let selecting = others.into_iter().filter(|rule| !rule.header.flags.contains(RuleFlags::Invert));
    let copies = selecting.flat_map(|rule| {
        let stand_ins = iif(rule).and_then(|name| stand_ins.get(name));
        stand_ins.into_iter().flatten().map(|on| copy(rule, on))
    });
    let copies: Vec<RuleMessage> = copies.collect();
    let is_wanted = |ours: &RuleMessage| copies.iter().any(|copy| is_same(copy, ours));
    let surplus =
        ours.iter().filter(|ours| !is_wanted(ours) && iif(ours).is_some_and(|name| ordered.contains(name)));
    let missing = copies.iter().filter(|copy| !ours.iter().any(|ours| is_same(copy, ours)));
    surplus
        .map(|rule| (requested(rule), Change::Delete))
        .chain(missing.map(|rule| (rule.clone(), Change::Add)))
        .collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Add,
    Delete,
}

fn request(message: &RuleMessage, change: Change) -> Request {
    match change {
        Change::Add => Request {
            message: Body::Known(RouteNetlinkMessage::NewRule(message.clone())),
            flags: NLM_F_CREATE | NLM_F_EXCL,
        },
        Change::Delete => {
            Request { message: Body::Known(RouteNetlinkMessage::DelRule(message.clone())), flags: 0 }
        }
    }
}

fn iif(rule: &RuleMessage) -> Option<&str> {
    rule.attributes
        .iter()
        .find_map(|a| if let RuleAttribute::Iifname(name) = a { Some(name.as_str()) } else { None })
}

fn is_ours(rule: &RuleMessage) -> bool {
    rule.attributes.contains(&RuleAttribute::Protocol(RouteProtocol::from(PROTO_RULE)))
}

/// The rule without what the kernel found: of the flags (`FIB_RULE_*` in `include/uapi/linux/fib_rules.h`) it is asked for "not"
/// only.
fn requested(rule: &RuleMessage) -> RuleMessage {
    let mut rule = rule.clone();
    rule.header.flags &= RuleFlags::Invert;
    rule
}

fn copy(rule: &RuleMessage, iif: &str) -> RuleMessage {
    let mut copy = requested(rule);
    copy.attributes.retain(|a| !matches!(a, RuleAttribute::Iifname(_) | RuleAttribute::Protocol(_)));
    copy.attributes.push(RuleAttribute::Iifname(iif.to_owned()));
    copy.attributes.push(RuleAttribute::Protocol(RouteProtocol::from(PROTO_RULE)));
    copy
}

fn is_same(one: &RuleMessage, other: &RuleMessage) -> bool {
    let (one, other) = (requested(one), requested(other));
    one.header == other.header
        && one.attributes.len() == other.attributes.len()
        && one.attributes.iter().all(|attribute| other.attributes.contains(attribute))
}
