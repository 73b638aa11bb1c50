//! What a daemon that has ended left in the kernel.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use super::{
    NetError,
    address::{Address, IFA_PROTO_IPMP},
    base::Base,
    inventory::Inventory,
    plan::Op,
    socket::{Request, Socket},
};

/// Removes the addresses that carry our mark (`IFA_PROTO`; kernels before 5.18 do not tell, and theirs stay) from these
/// interfaces, or from all, except those to keep: interface and address. Returns what was removed, as text for people.
pub fn remove_test_addresses(
    keep: &BTreeSet<(String, IpAddr)>,
    from: Option<&BTreeSet<String>>,
) -> Result<Vec<String>, NetError> {
    let mut socket = Socket::open()?;
    let inventory = Inventory::dump_without_neighbours(&mut socket)?;
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
    let inventory = Inventory::dump_without_neighbours(&mut socket)?;
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
