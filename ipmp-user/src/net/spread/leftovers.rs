//! What was made to spread flows, taken away.

use std::collections::BTreeSet;

use super::{Change, Ways, all};
use crate::net::{
    NetError,
    inventory::Inventory,
    socket::{Request, Socket},
};

/// Removes our rules, routes and nexthop objects by these interfaces only, or all. Returns how many of each there were.
pub fn remove(from: Option<&BTreeSet<String>>) -> Result<[usize; 3], NetError> {
    let mut socket = Socket::open()?;
    let inventory = Inventory::dump_without_neighbours(&mut socket)?;
    let name = |ifindex| inventory.link(ifindex).map(|link| link.name.as_str()).unwrap_or_default();
    let ours = match from {
        Some(from) => inventory.ours.by(|ifindex| from.contains(name(ifindex))),
        None => inventory.ours.clone(),
    };
    let changes = all(&ours, &Ways::default(), true);
    let requests: Vec<Request> = changes.iter().map(Change::request).collect();
    for (change, result) in changes.iter().zip(socket.batch(&requests)) {
        match result {
            Err(error) if !change.is_satisfied_by(error.errno()) => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    let rules = changes.iter().filter(|change| matches!(change, Change::DropRule(_))).count();
    Ok([rules, ours.routes.len(), ours.nexthops.len()])
}
