//! What a daemon that has ended left in the kernel.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use rtnetlink::packet_route::{
    RouteNetlinkMessage,
    neighbour::{NeighbourAttribute, NeighbourState},
    route::RouteProtocol,
};

use super::{
    NetError,
    address::{Address, IFA_PROTO_IPMP},
    base::Base,
    inventory::{Inventory, neighbour_ip},
    plan::{Op, neighbours::NeighbourEntry},
    resolve::NDA_PROTO_IPMP,
    socket::{Request, Socket, Table},
    sysctl::Sysctl,
};

/// Removes the addresses that carry our mark (`IFA_PROTO`; kernels before 5.18 do not tell, and theirs stay) from these
/// interfaces, or from all, except those to keep: interface and address. Returns what was removed, as text for people.
pub fn remove_test_addresses(
    keep: &BTreeSet<(String, IpAddr)>,
    from: Option<&BTreeSet<String>>,
) -> Result<Vec<String>, NetError> {
    let mut socket = Socket::open()?;
    let inventory = Inventory::dump_tables(&mut socket, &[Table::Links, Table::Addresses])?;
    let name = |ifindex: u32| name_of(&inventory, ifindex);
    let unwanted: Vec<&Address> = inventory
        .addresses
        .values()
        .flatten()
        .filter(|address| address.protocol() == Some(IFA_PROTO_IPMP))
        .filter(|address| from.is_none_or(|from| from.contains(&name(address.ifindex()))))
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

/// Removes the neighbour entries that the kernel was told to keep up for our probes, from these interfaces, or from all.
/// What is permanent is an administrator's. Returns what was removed, as text for people.
pub fn remove_neighbours(from: Option<&BTreeSet<String>>) -> Result<Vec<String>, NetError> {
    let mut socket = Socket::open()?;
    let inventory = Inventory::dump_tables(&mut socket, &[Table::Links])?;
    let messages = socket.dump(Table::Neighbours)?;
    let kept = messages.iter().filter_map(kept_up);
    let (entries, names): (Vec<NeighbourEntry>, Vec<String>) = kept
        .map(|entry| (entry, name_of(&inventory, entry.ifindex)))
        .filter(|(_, name)| from.is_none_or(|from| from.contains(name)))
        .unzip();
    let requests: Vec<Request> = entries.iter().map(|entry| Op::DelNeighbour(*entry).request()).collect();
    let mut removed = Vec::new();
    for ((entry, name), result) in entries.iter().zip(names).zip(socket.batch(&requests)) {
        match result {
            // It went by itself meanwhile.
            Err(error) if error.errno() == libc::ENOENT => {}
            Err(error) => return Err(error),
            Ok(()) => removed.push(format!("{} on {name}", entry.ip)),
        }
    }
    Ok(removed)
}

/// A neighbour entry, if it carries our mark.
fn kept_up(message: &RouteNetlinkMessage) -> Option<NeighbourEntry> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else { return None };
    let ours = NeighbourAttribute::Protocol(RouteProtocol::from(NDA_PROTO_IPMP));
    if !message.attributes.contains(&ours) || message.header.state == NeighbourState::Permanent {
        return None;
    }
    let ip = message.attributes.iter().find_map(neighbour_ip)?;
    Some(NeighbourEntry { ifindex: message.header.ifindex, ip, mac: None, router: false })
}

/// The interfaces that the records of a runtime directory name. A mark does not say which daemon made it.
pub fn recorded(base: Option<&Base>, sysctl: &Sysctl) -> BTreeSet<String> {
    base.into_iter().flat_map(Base::members).chain(sysctl.interfaces()).map(str::to_owned).collect()
}

/// A data address that is not at home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Away {
    ip: IpAddr,
    home: String,
    on: Vec<String>,
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ip, home, on } = self;
        match on.as_slice() {
            [] => write!(f, "{ip}: on no interface; its home is {home}"),
            on => write!(f, "{ip}: stays on {}; its home is {home}", on.join(", ")),
        }
    }
}

/// The data addresses that the kernel does not have at home.
pub fn away(base: &Base) -> Result<Vec<Away>, NetError> {
    let mut socket = Socket::open()?;
    let inventory = Inventory::dump_tables(&mut socket, &[Table::Links, Table::Addresses])?;
    let hosts = inventory.hosts();
    let places = base.homes().map(|(ip, home)| {
        let on = hosts.range((ip, 0)..=(ip, u32::MAX)).map(|(_, on)| name_of(&inventory, *on)).collect();
        Away { ip, home: home.to_owned(), on }
    });
    Ok(places.filter(|away| !away.on.contains(&away.home)).collect())
}

fn name_of(inventory: &Inventory, ifindex: u32) -> String {
    inventory.link(ifindex).map(|link| link.name.clone()).unwrap_or_default()
}
