//! The rules by which packets come to our routes.
//!
//! They stand right before the one that looks up `main`. For each length of prefix to which we have routes, the longest
//! first, there are two: what `main` has with a longer prefix is taken; else our table of that length is asked. So our routes
//! are taken exactly where that of the same destination would be, and any more specific one, whoever makes it and whenever,
//! wins at once. Before these, sockets that are bound to a member (`SO_BINDTODEVICE`, `IP_UNICAST_IF`, `IP_PKTINFO`) go
//! straight on to `main`: they have chosen their NIC, and get the source that `main` gives. So does IPv4 multicast: joining
//! a group without naming an interface asks the routes for it as well (`ip_mc_find_dev` in net/ipv4/igmp.c), and sender and
//! receiver on this host must get the same answer. For IPv6 the table `local` has it.

use std::collections::BTreeSet;

use ipmp_common::engine::ids::Family;
use ipnet::Ipv4Net;

use super::{Change, TABLES};
use crate::net::rule::{Rule, Then};

/// Multicast (224.0.0.0/4), and the limited broadcast in what is reserved behind it.
const MULTICAST: Ipv4Net = Ipv4Net::new_assert(std::net::Ipv4Addr::new(224, 0, 0, 0), 3);

/// Why there is no place for them.
const NO_MAIN: &str = "no rule leads all packets to the table main";
const NO_PLACE: &str = "there is no room for rules right before the one that leads to the table main";

/// The priority of the rule that looks up `main`, if ours have their place before it.
pub(super) fn main_priority(rules: &[Rule], family: Family) -> Result<u32, &'static str> {
    let mut others = rules.iter().filter(|rule| rule.family() == family && !rule.is_ours()).peekable();
    let mut before = None;
    while let Some(rule) = others.next_if(|rule| !rule.is_main()) {
        before = Some(rule.priority());
    }
    let main = others.next().ok_or(NO_MAIN)?.priority();
    // Ours are added behind others of their priority, and it must be a smaller one than main's.
    if main > before.unwrap_or(0) { Ok(main) } else { Err(NO_PLACE) }
}

/// What these lengths of prefixes ask for.
fn wanted(rules: &[Rule], family: Family, lengths: &BTreeSet<u8>, bound: &BTreeSet<String>) -> Vec<Rule> {
    let (Ok(main), false) = (main_priority(rules, family), lengths.is_empty()) else { return Vec::new() };
    let multicast = (family == Family::V4).then_some(Then::PassTo(MULTICAST, main));
    let bound = bound.iter().map(|interface| Then::PassBound(interface, main));
    let tables = lengths
        .iter()
        .rev()
        .flat_map(|length| [Then::Longer(*length), Then::Lookup(TABLES + u32::from(*length))]);
    let all = multicast.into_iter().chain(bound).chain(tables);
    all.map(|then| Rule::ours(family, main - 1, &then)).collect()
}

/// What is to be done. The new ones come behind the old ones of the same priority, and deleting a rule hits the first that is
/// like it, so there is no moment without.
pub(super) fn changes(
    rules: &[Rule],
    family: Family,
    lengths: &BTreeSet<u8>,
    bound: &BTreeSet<String>,
) -> Vec<Change> {
    let wanted = wanted(rules, family, lengths, bound);
    let there: Vec<&Rule> = rules.iter().filter(|rule| rule.family() == family).collect();
    let main = there.iter().position(|rule| rule.is_main()).unwrap_or(there.len());
    let before_main = there.get(main.saturating_sub(wanted.len())..main).unwrap_or_default();
    let ours = there.iter().filter(|rule| rule.is_ours());
    if before_main.iter().copied().eq(&wanted) && ours.clone().count() == wanted.len() {
        return Vec::new();
    }
    let old = ours.map(|rule| Change::DropRule((*rule).clone()));
    wanted.into_iter().map(Change::AddRule).chain(old).collect()
}
