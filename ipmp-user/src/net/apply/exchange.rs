//! Operations are sent, and what came of them is noted.

use std::{collections::BTreeSet, net::IpAddr};

use super::{Applier, Failure, Outcome};
use crate::net::{NetError, base::presence, plan::Op, route::RouteKey};

/// What the kernel refused of one exchange.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// Additions of addresses.
    pub(super) addresses: BTreeSet<(u32, IpAddr)>,
    /// Lists of routes.
    pub(super) routes: BTreeSet<RouteKey>,
}

impl Applier {
    /// Sends operations as part of a job; returns what was refused.
    pub(super) fn execute(&mut self, ops: &[Op], outcome: &mut Outcome) -> Refused {
        let (refused, failures) = self.send(ops);
        outcome.changes += ops.len() as u32;
        outcome.errors.extend(failures);
        refused
    }

    /// Sends operations and notes the results; returns what was refused, and with which words.
    pub(super) fn send(&mut self, ops: &[Op]) -> (Refused, Vec<Failure>) {
        let results = self.socket.exchange(&mut ops.iter().map(Op::request).collect());
        self.take_results(ops, results)
    }

    /// Notes the results of operations that were sent.
    pub(super) fn take_results(
        &mut self,
        ops: &[Op],
        results: Vec<Result<(), NetError>>,
    ) -> (Refused, Vec<Failure>) {
        let (mut refused, mut failures) = (Refused::default(), Vec::new());
        for (op, result) in ops.iter().zip(results) {
            tracing::trace!(%op, refused = ?result.as_ref().err(), "netlink request");
            match result.err().filter(|error| !op.is_satisfied_by(error.errno())) {
                None => self.note(op),
                Some(error) => {
                    refused.routes.extend(op.route_key());
                    if let Op::AddAddress(address) = op {
                        refused.addresses.insert((address.ifindex(), address.ip()));
                    }
                    failures.push(Failure::of(op, &error));
                }
            }
        }
        (refused, failures)
    }

    /// What was carried out.
    fn note(&mut self, op: &Op) {
        match op {
            Op::AddRoute(route) => {
                self.present.insert(route.identity().to_vec());
            }
            Op::SetNexthop(nexthop) => self.present.extend(nexthop.id().map(presence)),
            Op::DelRoute(route) => {
                self.present.remove(route.identity());
            }
            Op::ReplaceRoute { old, new } => {
                self.present.remove(old.identity());
                self.present.insert(new.identity().to_vec());
            }
            Op::DelAddress(address) => {
                self.deleted.insert((address.ifindex(), address.ip()));
            }
            Op::AddAddress(address) => {
                if address.has_prefix_route() && self.base.original(address.ip()).is_none() {
                    self.base.made.insert(address.ip());
                }
            }
            Op::SetAddress(_) | Op::AddNeighbour(_) | Op::DelNeighbour(_) => {}
        }
    }
}
