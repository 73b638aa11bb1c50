//! Single steps beside placements: what reload, detach and attach do to the kernel.

use std::net::IpAddr;

use ipmp_common::engine::ids::GroupId;
use nix::net::if_::if_indextoname;
use rtnetlink::packet_route::{
    RouteNetlinkMessage,
    link::{LinkFlags, LinkMessage},
};

use super::{Applier, Failure};
use crate::net::{
    Renames,
    address::Address,
    inventory::Inventory,
    plan::Op,
    socket::{Body, Request},
};

/// A step to be taken.
#[derive(Clone, Debug)]
pub struct Step {
    /// Echoed in the result.
    pub ticket: u64,
    /// What to do.
    pub work: Work,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Work {
    /// Takes addresses, as they stand, off their interfaces. What has gone already is no failure.
    Remove(Vec<Address>),
    /// Data addresses that are ours no longer: taken off these interfaces, wherever earlier jobs have put them, and not to be
    /// put back, whatever comes.
    Release {
        /// The interfaces, by their ifindexes.
        on: Vec<u32>,
        /// The addresses.
        addresses: Vec<IpAddr>,
    },
    /// Puts addresses on their interfaces.
    Restore(Vec<Address>),
    /// Groups that are ours no longer: their addresses and routes are left as they are.
    Forget(Vec<GroupId>),
    /// Interfaces that have other names now.
    Rename(Renames),
    /// Sets an interface administratively up or down.
    SetLink {
        /// The interface.
        ifindex: u32,
        /// Up.
        up: bool,
    },
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Of the step.
    pub ticket: u64,
    /// Requests that failed.
    pub errors: Vec<Failure>,
}

impl Applier {
    /// Takes a step. Total: whatever fails is in the result.
    pub fn take(&mut self, step: &Step) -> Taken {
        self.ahead = None;
        let errors = match &step.work {
            Work::Remove(addresses) => self.take_off(addresses),
            Work::Release { on, addresses } => {
                for ip in addresses {
                    self.base.forget(*ip);
                }
                match Inventory::dump_without_neighbours(&mut self.socket) {
                    Ok(inventory) => {
                        let standing = on.iter().flat_map(|ifindex| inventory.addresses(*ifindex));
                        let theirs = standing.filter(|address| addresses.contains(&address.ip()));
                        self.take_off(&theirs.cloned().collect::<Vec<_>>())
                    }
                    Err(error) => vec![Failure::of("reading the kernel's addresses", &error)],
                }
            }
            Work::Restore(addresses) => self.run(addresses, Op::AddAddress),
            Work::Forget(groups) => {
                for group in groups {
                    self.wanted.remove(group);
                    self.foreseen.remove(group);
                }
                self.respread()
            }
            Work::Rename(renames) => {
                self.base.rename(renames);
                Vec::new()
            }
            Work::SetLink { ifindex, up } => self.set_link(*ifindex, *up),
        };
        Taken { ticket: step.ticket, errors }
    }

    fn take_off(&mut self, addresses: &[Address]) -> Vec<Failure> {
        let errors = self.run(addresses, Op::DelAddress);
        // The routes that the kernel takes along were not removed by an administrator.
        self.present.clear();
        errors
    }

    fn run(&mut self, addresses: &[Address], op: fn(Address) -> Op) -> Vec<Failure> {
        let ops: Vec<Op> = addresses.iter().cloned().map(op).collect();
        self.send(&ops).1
    }

    fn set_link(&mut self, ifindex: u32, up: bool) -> Vec<Failure> {
        let mut message = LinkMessage::default();
        message.header.index = ifindex;
        message.header.change_mask = LinkFlags::Up;
        if up {
            message.header.flags = LinkFlags::Up;
        }
        let request = Request { message: Body::Known(RouteNetlinkMessage::SetLink(message)), flags: 0 };
        let results = self.socket.batch(&[request]);
        let word = if up { "up" } else { "down" };
        let failures = results.into_iter().filter_map(Result::err);
        let name = if_indextoname(ifindex).ok().and_then(|name| name.into_string().ok());
        let name = name.unwrap_or_else(|| format!("interface {ifindex}, which has gone,"));
        failures.map(|error| Failure::of(format_args!("set {name} {word}"), &error)).collect()
    }
}
