//! Addresses that somebody else on the link has, too.

use anyhow::Result;
use ipmp_tests::{
    address_log::AddressLog,
    config::Config,
    daemon::Daemon,
    skip,
    topology::{Lab, PREFIX4, PREFIX6, Shape, data, link_is_up},
    wait::{self, now_ns},
};
use serde_json::Value;

use crate::{Bed, FDT_MS};

/// A lab whose second neighbour has the first NIC's IPv6 data address.
fn contested() -> Result<Option<Lab>> {
    if !skip::can_run() {
        return Ok(None);
    }
    let lab = Lab::new(&Shape { data_members: 2, peers: 2, ..Shape::default() })?;
    lab.peers()[1].batch(&format!("address add {}/{PREFIX6} dev eth0 nodad", data(0, true)))?;
    lab.host.sysctl("net/ipv6/conf/eth0/accept_dad", "1")?;
    Ok(Some(lab))
}

fn start(lab: Lab) -> Result<Bed> {
    let daemon = Daemon::start(&lab.host, &Config::active_active(FDT_MS))?;
    daemon.wait_healthy()?;
    Ok(Bed { daemon, lab })
}

/// A daemon that was there before anybody found the address twice.
fn healthy() -> Result<Option<Bed>> {
    contested()?.map(start).transpose()
}

/// Adds the address to the first NIC anew, as a start-up script does, and waits until the kernel has found the other one.
fn find_duplicate(lab: &Lab) -> Result<()> {
    let address = format!("{}/{PREFIX6} dev eth0", data(0, true));
    lab.host.batch(&format!("address del {address}\naddress add {address}"))?;
    wait::until("it is found to be a duplicate", || {
        Ok(lab.host.ip("-6 address show dev eth0")?.contains("dadfailed"))
    })
}

fn told(bed: &Bed, from_ns: u64) -> Result<Vec<Value>> {
    let mut events = bed.daemon.events_since(from_ns)?;
    let about = format!("{}/{PREFIX6} serves nobody on eth0", data(0, true));
    events.retain(|event| event["kind"] == "action-failed" && event.to_string().contains(&about));
    Ok(events)
}

/// The kernel says once that an address is a duplicate; whoever asks it to try again and again would only be told the same.
fn ensure_quiet(bed: &Bed) -> Result<()> {
    wait::until("nobody changes addresses any more", || {
        let (log, from_ns) = (AddressLog::start(&bed.lab.host)?, now_ns());
        wait::until("three seconds pass", || Ok(now_ns() - from_ns >= 3_000_000_000))?;
        Ok(log.steps()?.is_empty())
    })
}

#[test]
fn an_address_that_is_a_duplicate_at_the_start_is_told_once_and_left_alone() -> Result<()> {
    let Some(lab) = contested()? else {
        return Ok(());
    };
    find_duplicate(&lab)?;
    let bed = start(lab)?;
    assert_eq!(told(&bed, 0)?.len(), 1);
    ensure_quiet(&bed)?;
    assert_eq!(told(&bed, 0)?.len(), 1, "not again");
    assert!(bed.lab.host.ip("-6 address show dev eth0")?.contains("dadfailed"));
    // The conflict is over, and the administrator adds it again.
    bed.lab.peers()[1].batch(&format!("address del {}/{PREFIX6} dev eth0", data(0, true)))?;
    let address = format!("{}/{PREFIX6} dev eth0", data(0, true));
    bed.lab.host.batch(&format!("address del {address}\naddress replace {address}"))?;
    wait::until("it is used", || {
        let shown = bed.lab.host.ip("-6 address show dev eth0")?;
        Ok(shown.contains(&format!("{}/", data(0, true))) && !shown.contains("tentative"))
    })?;
    bed.daemon.wait_healthy()?;
    assert_eq!(told(&bed, 0)?.len(), 1);
    Ok(())
}

#[test]
fn an_address_that_becomes_a_duplicate_is_told_each_time_and_causes_no_loop() -> Result<()> {
    let Some(bed) = healthy()? else { return Ok(()) };
    assert_eq!(told(&bed, 0)?.len(), 0, "it stood there before the other one came");
    let from_ns = now_ns();
    find_duplicate(&bed.lab)?;
    wait::until("it is told", || Ok(!told(&bed, from_ns)?.is_empty()))?;
    ensure_quiet(&bed)?;
    assert_eq!(told(&bed, from_ns)?.len(), 1);
    // Its interface fails, and all others of the group's addresses move as ever. This one would be taken from its owner.
    bed.lab.pull(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    ensure_quiet(&bed)?;
    let shown = bed.lab.host.ip("-6 address show dev eth1")?;
    assert!(!shown.contains(&format!("{}/", data(0, true))), "{shown}\n{}", bed.daemon.log_tail());
    bed.lab.plug(0)?;
    bed.daemon.wait_healthy()?;
    ensure_quiet(&bed)?;
    assert!(bed.lab.host.ip("-6 address show dev eth0")?.contains("dadfailed"));
    Ok(())
}

/// Linux looks for no IPv4 duplicates, nor does IPMP when it moves an address: the two hosts fight as they would without us.
#[test]
fn somebody_else_with_an_ipv4_data_address_makes_nothing_fail_move_or_be_announced() -> Result<()> {
    let Some(bed) = healthy()? else { return Ok(()) };
    // Announcements of the start are repeated for a while.
    ensure_quiet(&bed)?;
    let (before, from_ns) = (bed.count("announced", 0)?, now_ns());
    let other = &bed.lab.peers()[1];
    other.sysctl("net/ipv4/conf/eth0/arp_notify", "1")?;
    other.batch(&format!("address add {}/{PREFIX4} dev eth0", data(0, false)))?;
    // It says so to all on the link, by gratuitous ARP.
    for _ in 0..3 {
        other.batch("link set eth0 down\nlink set eth0 up")?;
        wait::until("its link is up", || link_is_up(other, "eth0"))?;
    }
    ensure_quiet(&bed)?;
    for kind in ["failed", "moved", "put-back", "action-failed"] {
        assert_eq!(bed.count(kind, from_ns)?, 0, "{kind}: {}", bed.daemon.log_tail());
    }
    assert_eq!(bed.count("announced", 0)?, before);
    bed.daemon.wait_healthy().map(drop)
}
