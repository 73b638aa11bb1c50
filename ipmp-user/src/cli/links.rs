//! Link diagnosis in `ipmp status -v` and `ipmp explain`.

use std::fmt::Write as _;

use super::output::{Table, word};
use crate::{
    control::status::{InterfaceStatus, Status},
    diagnosis::{self, Diagnosis, Finding, LinkReport, place},
};

/// Adds what can be learned of each interface's link. What cannot, for want of a privilege or because the client sees
/// other interfaces than the daemon, is left out.
pub(super) fn diagnose(daemon: Option<i32>, status: &mut Status) {
    let ours = |name: &str| {
        status.groups.iter().flat_map(|group| &group.interfaces).any(|interface| interface.name == name)
    };
    let looked = place::in_namespace_of(daemon, || diagnosis::read(ours));
    let Ok(Ok(links)) = looked else { return };
    for group in &mut status.groups {
        let of = |interface: &InterfaceStatus| links.iter().find(|link| is_same(link, interface)).cloned();
        let known: Vec<LinkReport> = group.interfaces.iter().filter_map(of).collect();
        let findings = if group.name.is_empty() {
            known.iter().flat_map(|link| diagnosis::judge(std::slice::from_ref(link))).collect()
        } else {
            diagnosis::judge(&known)
        };
        for interface in &mut group.interfaces {
            let Some(link) = of(interface) else { continue };
            let about = |found: &&Finding| found.subject == link.name;
            let findings = findings.iter().filter(about).cloned().collect();
            interface.diagnosis = Some(Box::new(Diagnosis { link, findings }));
        }
    }
}

/// Another namespace may have an interface of the same name.
fn is_same(link: &LinkReport, interface: &InterfaceStatus) -> bool {
    let mac = interface.device.as_ref().and_then(|device| device.mac.as_ref());
    link.name == interface.name
        && link.ifindex == interface.ifindex
        && mac.is_none_or(|mac| link.mac.as_ref() == Some(mac))
}

/// A row for each link, and what is wrong with it.
pub(super) fn text(interfaces: &[InterfaceStatus]) -> String {
    let mut table = Table::new(&[
        "LINK",
        "SPEED",
        "DUPLEX",
        "NEGOTIATION",
        "PARTNER",
        "RX ERRORS",
        "TX ERRORS",
        "CARRIER LOST",
    ]);
    let known = || interfaces.iter().filter_map(|interface| interface.diagnosis.as_deref());
    for Diagnosis { link, .. } in known() {
        let modes = &link.modes;
        table.row([
            link.name.clone(),
            modes.speed_mbps.map_or_else(|| "-".to_owned(), |speed| format!("{speed} Mb/s")),
            word(&modes.duplex),
            modes.autonegotiation.map_or("-", |on| if on { "on" } else { "off" }).to_owned(),
            partner(&modes.partner),
            link.counters.rx_errors.to_string(),
            link.counters.tx_errors.to_string(),
            link.counters.carrier_losses.to_string(),
        ]);
    }
    if known().next().is_none() {
        return String::new();
    }
    let mut text = table.text(2);
    for found in known().flat_map(|known| &known.findings) {
        let Finding { severity, subject, what, why, fix, .. } = found;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}: {subject}: {what}: {why}: {fix}", word(severity));
    }
    text
}

/// The best that the partner offers, and how many more.
fn partner(modes: &[String]) -> String {
    let speeds = modes.iter().filter(|mode| mode.contains("base"));
    // The kernel numbers modes in the order in which they were invented (include/uapi/linux/ethtool.h).
    match speeds.clone().max_by_key(|mode| diagnosis::speed_of(mode)) {
        None => "-".to_owned(),
        Some(best) if speeds.clone().count() == 1 => best.clone(),
        Some(best) => format!("{best} and {} more", speeds.count() - 1),
    }
}
