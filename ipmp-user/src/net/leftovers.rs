//! Test addresses that a daemon made and nobody wants any more.

use std::{collections::BTreeSet, net::IpAddr};

use super::{
    NetError,
    address::{Address, IFA_PROTO_IPMP},
    inventory::Inventory,
    plan::Op,
    socket::{Request, Socket},
};

/// Removes the addresses that carry our mark (`IFA_PROTO`; kernels before 5.18 do not tell, and theirs stay) from all
/// interfaces, except those to keep: interface and address. Returns what was removed, as text for people.
pub fn remove_test_addresses(keep: &BTreeSet<(String, IpAddr)>) -> Result<Vec<String>, NetError> {
    let mut socket = Socket::open()?;
    let inventory = Inventory::dump_without_neighbours(&mut socket)?;
    let name = |ifindex: u32| inventory.link(ifindex).map(|link| link.name.clone()).unwrap_or_default();
    let unwanted: Vec<&Address> = inventory
        .addresses
        .values()
        .flatten()
        .filter(|address| address.protocol() == Some(IFA_PROTO_IPMP))
        .filter(|address| !keep.contains(&(name(address.ifindex()), address.ip())))
        .collect();
    let requests: Vec<Request> =
        unwanted.iter().map(|address| Op::DelAddress((*address).clone()).request()).collect();
    let results = socket.batch(&requests);
    let mut removed = Vec::new();
    for (address, result) in unwanted.into_iter().zip(results) {
        result?;
        removed.push(format!("{} on {}", address.net(), name(address.ifindex())));
    }
    Ok(removed)
}
