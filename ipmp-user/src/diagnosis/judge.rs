//! What is wrong with the links of a group. Pure.
//!
//! The rules on duplex are IEEE 802.3's, clause 28: an end that negotiates with one that does not (parallel detection)
//! learns the speed, not the duplex, and takes half. Forced to full duplex at the other end, the link seems to work, and
//! loses frames under load: probes, too.

use super::{
    Duplex, ErrorCounters, Finding, LinkReport, Severity,
    ethtool::{AUTONEG, Modes},
};

/// Share of frames below which errors are everyday ones: a copper link within its specification (bit error ratio 10⁻¹⁰)
/// loses about one frame of full size in a million.
const EVERYDAY_ERRORS_IN: u64 = 100_000;
/// Above this speed copper cannot work without negotiation (IEEE 802.3, clause 40), so silence about the partner is the
/// driver's.
const SPEED_WITHOUT_NEGOTIATION_MBPS: u32 = 100;

/// Findings about the links of one group, in its order.
pub fn judge(group: &[LinkReport]) -> Vec<Finding> {
    let speed = |link: &&LinkReport| link.modes.speed_mbps.filter(|_| link.running);
    let fastest = group.iter().filter(|link| speed(link).is_some()).max_by_key(speed);
    group
        .iter()
        .flat_map(|link| {
            let rules =
                [no_link, duplex, negotiation_off, partner_silent, below_common_mode, withheld_modes, errors];
            let mut found: Vec<Finding> = rules.iter().filter_map(|rule| rule(link)).collect();
            found.extend(fastest.and_then(|sibling| below_sibling(link, sibling)));
            found
        })
        .collect()
}

fn warning(check: &str, link: &LinkReport, what: &str, why: &str, fix: &str) -> Finding {
    // The counters tell whether it does harm already.
    let what = match error_text(&link.counters) {
        Some(counted) => format!("{what}; {counted}"),
        None => what.to_owned(),
    };
    Finding::new(Severity::Warning, check, &link.name, [&what, why, fix])
}

fn no_link(link: &LinkReport) -> Option<Finding> {
    let because = link.modes.no_link_because.as_ref().filter(|_| !link.running)?;
    let what = format!("no link: {because}");
    let why = "the driver knows why the carrier is gone";
    Some(warning("no-link", link, &what, why, "check cable, module and the switch's port"))
}

fn duplex(link: &LinkReport) -> Option<Finding> {
    let Modes { duplex, autonegotiation, ref partner, speed_mbps, .. } = link.modes;
    let collides = link.counters.tx_window_errors > 0;
    let damaged = link.counters.rx_crc_errors + link.counters.rx_frame_errors > 0;
    let name = &link.name;
    let speed = speed_mbps.unwrap_or(SPEED_WITHOUT_NEGOTIATION_MBPS);
    let forced = format!("`ethtool -s {name} speed {speed} duplex full autoneg off`");
    let negotiated = format!("`ethtool -s {name} autoneg on`");
    let (check, what, why, fix) = match (duplex.filter(|_| link.running)?, autonegotiation) {
        (Duplex::Half, Some(true)) if partner.is_empty() || !negotiates(partner) => (
            "duplex-mismatch",
            "half duplex by parallel detection: this end negotiates, the partner does not",
            "if the partner is set to full duplex, frames are lost under load, and probes with them",
            format!("turn negotiation on at the partner; or set both ends: {forced}"),
        ),
        (Duplex::Half, _) => (
            "half-duplex",
            if collides { "half duplex, with late collisions: a duplex mismatch" } else { "half duplex" },
            "half duplex loses frames to collisions; today's switches run full duplex",
            format!("let both ends negotiate ({negotiated}), or set both: {forced}"),
        ),
        (Duplex::Full, Some(false)) if damaged => (
            "duplex-mismatch",
            "full duplex without negotiation, and damaged frames arrive",
            "a partner that negotiates takes half duplex then, and its frames break off",
            format!("let both ends negotiate ({negotiated}), or set the partner, too"),
        ),
        (Duplex::Full, _) => return None,
    };
    Some(warning(check, link, what, why, &fix))
}

fn negotiation_off(link: &LinkReport) -> Option<Finding> {
    let off = link.modes.autonegotiation == Some(false);
    off.then(|| {
        warning(
            "negotiation-off",
            link,
            "autonegotiation is off",
            "a partner that negotiates falls back to half duplex, and a one-way fault is not seen by the other end",
            &format!("`ethtool -s {} autoneg on`, unless the switch's port is set to the same mode", link.name),
        )
    })
}

fn partner_silent(link: &LinkReport) -> Option<Finding> {
    let Modes { duplex, autonegotiation, ref partner, speed_mbps, .. } = link.modes;
    let known = !partner.is_empty() && !negotiates(partner);
    let slow = speed_mbps.is_some_and(|speed| speed <= SPEED_WITHOUT_NEGOTIATION_MBPS);
    // At half duplex it is told as what it leads to.
    let silent = link.running
        && autonegotiation == Some(true)
        && duplex != Some(Duplex::Half)
        && (known || partner.is_empty() && slow);
    silent.then(|| {
        warning(
            "partner-not-negotiating",
            link,
            "the partner does not negotiate",
            "speed and duplex are guessed, and both ends may guess differently",
            "turn negotiation on at the switch's port",
        )
    })
}

fn negotiates(partner: &[String]) -> bool {
    partner.iter().any(|mode| mode == AUTONEG)
}

/// The speed of a mode by its name: `1000baseT/Full`.
pub(crate) fn speed_of(mode: &str) -> Option<u32> {
    let (number, _) = mode.split_once("base")?;
    number.parse().ok()
}

fn below_common_mode(link: &LinkReport) -> Option<Finding> {
    let Modes { ref advertised, ref partner, .. } = link.modes;
    let speed = link.modes.speed_mbps.filter(|_| link.running)?;
    let common =
        advertised.iter().filter(|mode| partner.contains(mode)).filter_map(|mode| speed_of(mode)).max()?;
    (speed < common).then(|| {
        let what = format!("{speed} Mb/s, although both ends offer {common} Mb/s");
        let why = "a damaged pair of wires, or a module, makes a link fall back before it fails";
        warning(
            "below-common-mode",
            link,
            &what,
            why,
            "replace the cable; then the module, then try another port",
        )
    })
}

fn withheld_modes(link: &LinkReport) -> Option<Finding> {
    let Modes { ref supported, ref advertised, autonegotiation, .. } = link.modes;
    let withheld: Vec<&str> = supported
        .iter()
        .filter(|mode| speed_of(mode).is_some() && !advertised.contains(mode))
        .map(String::as_str)
        .collect();
    let fastest = |modes: &[String]| modes.iter().filter_map(|mode| speed_of(mode)).max();
    // Only if the best is withheld: without half duplex nobody is worse off.
    let matters = autonegotiation == Some(true) && fastest(supported) > fastest(advertised);
    matters.then(|| {
        Finding::new(
            Severity::Note,
            "modes-withheld",
            &link.name,
            [
                &format!("not offered to the partner: {}", withheld.join(", ")),
                "the link is slower than the device",
                &format!("`ethtool -s {} advertise` with all modes, unless that is wanted", link.name),
            ],
        )
    })
}

fn below_sibling(link: &LinkReport, sibling: &LinkReport) -> Option<Finding> {
    let (speed, best) = (link.modes.speed_mbps.filter(|_| link.running)?, sibling.modes.speed_mbps?);
    (speed < best).then(|| {
        let what = format!("{speed} Mb/s, where {} of the same group has {best} Mb/s", sibling.name);
        let why = "after a failover to it, the group carries less";
        warning("below-sibling", link, &what, why, "connect it to an equal port, or make it the standby")
    })
}

fn errors(link: &LinkReport) -> Option<Finding> {
    let ErrorCounters { rx_packets, tx_packets, rx_errors, tx_errors, .. } = link.counters;
    let often = |errors: u64, frames: u64| errors > 0 && errors.saturating_mul(EVERYDAY_ERRORS_IN) > frames;
    (often(rx_errors, rx_packets) || often(tx_errors, tx_packets)).then(|| {
        let what = format!("more than one frame in {EVERYDAY_ERRORS_IN} is bad");
        let why = "lost frames are lost probes, and slow connections";
        warning("errors", link, &what, why, "replace the cable; then the module, then try another port")
    })
}

/// `12 bad frames received (10 CRC), carrier lost 3 times`; none if there is nothing to tell.
pub(crate) fn error_text(counters: &ErrorCounters) -> Option<String> {
    let told = [
        (counters.rx_errors, "bad frames received"),
        (counters.rx_crc_errors, "CRC errors"),
        (counters.rx_frame_errors, "alignment errors"),
        (counters.rx_missed_errors, "frames missed"),
        (counters.tx_errors, "frames not sent"),
        (counters.tx_carrier_errors, "of them for want of a carrier"),
        (counters.tx_window_errors, "late collisions"),
        (counters.collisions, "collisions"),
        (counters.carrier_losses, "losses of carrier"),
    ];
    let told: Vec<String> =
        told.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    (!told.is_empty()).then(|| told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// A gigabit NIC at a gigabit switch.
    fn healthy(name: &str) -> LinkReport {
        let all = names(&["Autoneg", "10baseT/Full", "100baseT/Full", "1000baseT/Full"]);
        LinkReport {
            name: name.to_owned(),
            running: true,
            modes: Modes {
                speed_mbps: Some(1000),
                duplex: Some(Duplex::Full),
                autonegotiation: Some(true),
                supported: all.clone(),
                advertised: all.clone(),
                partner: all,
                no_link_because: None,
            },
            counters: ErrorCounters {
                rx_packets: 5_000_000,
                tx_packets: 5_000_000,
                ..ErrorCounters::default()
            },
            ..LinkReport::default()
        }
    }

    fn checks(group: &[LinkReport]) -> Vec<String> {
        judge(group).into_iter().map(|found| format!("{} {}", found.subject, found.check)).collect()
    }

    #[test]
    fn healthy_links_give_no_findings() {
        assert_eq!(judge(&[healthy("eth0"), healthy("eth1")]), []);
        let virtual_device = LinkReport { running: true, ..LinkReport::default() };
        assert_eq!(judge(&[virtual_device]), [], "what nobody tells is no fault");
    }

    #[test]
    fn a36_half_duplex_and_a_slower_sibling_are_told() {
        let mut slow = healthy("eth1");
        slow.modes.speed_mbps = Some(100);
        slow.modes.duplex = Some(Duplex::Half);
        slow.modes.advertised = names(&["Autoneg", "100baseT/Half"]);
        let found = judge(&[healthy("eth0"), slow]);
        let told: Vec<&str> = found.iter().map(|found| found.check.as_str()).collect();
        assert_eq!(told, ["half-duplex", "modes-withheld", "below-sibling"]);
        assert!(found.iter().all(|found| found.subject == "eth1"), "{found:?}");
        assert!(found[2].what.contains("100 Mb/s") && found[2].what.contains("eth0"), "{found:?}");
    }

    #[test]
    fn a37_autonegotiation_off_is_told_only_where_there_is_any() {
        let mut off = healthy("eth0");
        off.modes.autonegotiation = Some(false);
        assert_eq!(checks(&[off]), ["eth0 negotiation-off"]);
        let mut none = healthy("eth0");
        none.modes.autonegotiation = None;
        assert_eq!(checks(&[none]), [""; 0]);
    }

    #[test]
    fn a38_a_partner_that_does_not_negotiate_is_told() {
        let mut link = healthy("eth0");
        link.modes.partner = names(&["100baseT/Full"]);
        link.modes.speed_mbps = Some(100);
        assert_eq!(checks(&[link.clone()]), ["eth0 partner-not-negotiating"]);
        link.modes.partner.clear();
        assert_eq!(checks(&[link.clone()]), ["eth0 partner-not-negotiating"]);
        // At gigabit speed it must have negotiated: the driver does not tell.
        link.modes.speed_mbps = Some(1000);
        assert_eq!(checks(&[link]), [""; 0]);
    }

    #[test]
    fn a39_a40_parallel_detection_is_a_mismatch_with_the_command_as_advice() {
        let mut link = healthy("eth0");
        link.modes.partner.clear();
        link.modes.speed_mbps = Some(100);
        link.modes.duplex = Some(Duplex::Half);
        link.counters.collisions = 7;
        let found = judge(&[link]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].check, "duplex-mismatch");
        assert!(found[0].fix.contains("ethtool -s eth0 speed 100 duplex full autoneg off"), "{found:?}");
        assert!(found[0].what.ends_with("; 7 collisions"), "{found:?}");
    }

    #[test]
    fn a39_damaged_frames_at_forced_full_duplex_are_a_mismatch() {
        let mut link = healthy("eth0");
        link.modes.autonegotiation = Some(false);
        link.counters.rx_errors = 3;
        link.counters.rx_crc_errors = 3;
        assert_eq!(checks(&[link]), ["eth0 duplex-mismatch", "eth0 negotiation-off"]);
    }

    #[test]
    fn a42_a_link_that_fell_back_and_one_with_errors_point_to_the_cable() {
        let mut fallen = healthy("eth0");
        fallen.modes.speed_mbps = Some(100);
        let mut bad = healthy("eth1");
        bad.modes.speed_mbps = Some(100);
        bad.modes.advertised = names(&["Autoneg", "100baseT/Full"]);
        bad.modes.supported.clone_from(&bad.modes.advertised);
        bad.counters.rx_errors = 51;
        bad.counters.carrier_losses = 2;
        let found = judge(&[fallen, bad]);
        let told: Vec<&str> = found.iter().map(|found| found.check.as_str()).collect();
        assert_eq!(told, ["below-common-mode", "errors"]);
        assert!(found[1].what.ends_with("; 51 bad frames received, 2 losses of carrier"), "{found:?}");
        // One in 100 000 is not.
        let mut good = healthy("eth0");
        good.counters.rx_errors = 50;
        assert_eq!(checks(&[good]), [""; 0]);
    }

    #[test]
    fn a42_the_drivers_word_on_a_missing_link_is_passed_on() {
        let mut link = healthy("eth0");
        link.running = false;
        link.modes.no_link_because = Some("no cable".to_owned());
        let found = judge(&[link]);
        assert_eq!((found[0].check.as_str(), found[0].what.as_str()), ("no-link", "no link: no cable"));
    }
}
