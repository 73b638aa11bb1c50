//! What the kernel's tables say about the members, turned into events.

use std::net::IpAddr;

use ipmp_common::engine::{
    config::{Config, DataAddresses, InterfaceConfig},
    event::{CarrierSource, Event, Hardware, Presence},
    ids::{Family, GroupId, MemberId},
    time::Timestamp,
};
use rtnetlink::packet_route::link::{LinkFlags, State};

use super::{Daemon, admin::Admin, settling::Settling};
use crate::net::inventory::{Inventory, Link};

/// One member as the daemon sees it.
#[derive(Debug)]
pub(super) struct MemberIo {
    pub(super) id: MemberId,
    pub(super) group: GroupId,
    /// In no group: it gets no programs and no settings, and netlink tells its carrier.
    pub(super) ungrouped: bool,
    pub(super) config: InterfaceConfig,
    pub(super) ifindex: Option<u32>,
    /// It is a port of this one, and cannot serve as a member.
    port_of: Option<u32>,
    link: Option<bool>,
    pub(super) carrier_downs: Option<u32>,
    sources: [Option<IpAddr>; 2],
    /// It is being detached: what its link does is our doing.
    pub(super) leaving: bool,
    /// Likewise while its programs have just been attached.
    pub(super) settling: Option<Settling>,
}

/// All members, in the engine's numbering.
pub(super) fn from_config(config: &Config) -> Vec<MemberIo> {
    let groups = (0u32..).map(GroupId).zip(&config.groups);
    groups
        .flat_map(|(group, config)| {
            config.interfaces.iter().map(move |interface| (group, config.is_anonymous(), interface))
        })
        .zip(0u32..)
        .map(|((group, ungrouped, interface), number)| {
            MemberIo::new(MemberId(number), group, ungrouped, interface.clone())
        })
        .collect()
}

/// Whether frames can pass. The flag is as new as the message and alone suffices for "no"; "yes" also needs the
/// operational state, because linkwatch starts the transmit queue only when it sets that (`net/core/link_watch.c`),
/// up to a second after the carrier is back: until then frames vanish. `None` where the driver reports no carrier
/// at all (RFC 2863 "unknown").
pub(super) fn link_up(link: &Link) -> Option<bool> {
    let lower_up = link.admin_up() && link.flags.contains(LinkFlags::LowerUp);
    match link.operstate {
        Some(State::Unknown) | None if lower_up => None,
        Some(State::Up) => Some(lower_up),
        Some(_) | None => Some(false),
    }
}

/// An interface without addresses of ours.
pub(super) fn bare(name: &str) -> InterfaceConfig {
    InterfaceConfig {
        name: name.to_owned(),
        standby: false,
        data: DataAddresses::Listed(Vec::new()),
        test: Vec::new(),
    }
}

/// Below this the kernel takes IPv4 off an interface (`inetdev_valid_mtu` in include/linux/inetdevice.h).
const MIN_MTU_IPV4: u32 = 68;
/// Below this the kernel takes IPv6 off an interface (RFC 8200, section 5).
const MIN_MTU_IPV6: u32 = 1280;

/// No file: the kernel has no IPv6, or none on this interface.
fn ipv6_enabled(interface: &str) -> bool {
    std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{interface}/disable_ipv6"))
        .is_ok_and(|value| value.trim() == "0")
}

/// Why a port of another interface cannot be a member.
pub(super) fn port_of(master: &Link) -> String {
    let kind = master.kind.as_deref().unwrap_or_default();
    format!("it is a port of {} ({kind}), which takes its frames", master.name)
}

impl Daemon {
    /// Why an interface that is there is no member's, if it is to be one.
    pub(super) fn why_not_taken(&self, name: &str) -> Option<String> {
        let dispute = self.admin.identities.dispute(name);
        let Some(link) = self.inventory.link_by_name(name) else { return dispute };
        if self.admin.detached.holds(link) {
            return Some(format!("it is detached: `ipmp attach {name}` undoes that"));
        }
        self.inventory
            .swallower(link)
            .map(port_of)
            .or(dispute)
            .or_else(|| self.admin.identities.refusal(link))
    }

    /// Likewise, also for one that is not there.
    pub(super) fn why_absent(&self, name: &str) -> String {
        self.why_not_taken(name)
            .unwrap_or_else(|| "there is no such interface: `ip link` shows those there are".to_owned())
    }

    /// The interfaces of a group's members that are there.
    pub(super) fn ifindexes(&self, group: GroupId) -> impl Iterator<Item = u32> {
        self.members.iter().filter(move |member| member.group == group).filter_map(|member| member.ifindex)
    }
}

impl MemberIo {
    pub(super) fn new(id: MemberId, group: GroupId, ungrouped: bool, config: InterfaceConfig) -> Self {
        Self {
            id,
            group,
            ungrouped,
            config,
            ifindex: None,
            port_of: None,
            link: None,
            carrier_downs: None,
            sources: [None; 2],
            leaving: false,
            settling: None,
        }
    }

    /// Holds the place of a number that is free.
    pub(super) fn nobody(id: MemberId) -> Self {
        Self::new(id, GroupId(u32::MAX), false, bare(""))
    }

    /// Whether it holds the place of a free number.
    pub(super) const fn is_nobody(&self) -> bool {
        self.config.name.is_empty()
    }

    /// Whether the engine does not know of the interface yet.
    pub(super) fn is_withheld(&self) -> bool {
        self.settling.is_some_and(|settling| settling.withheld)
    }

    /// The interface by this member's name, if it is another than before or has gone: what to detach, and
    /// what to attach. One that was detached is as good as gone.
    pub(super) fn replaced(
        &self,
        link: Option<&Link>,
        inventory: &Inventory,
        admin: &Admin,
    ) -> (Option<u32>, Option<u32>) {
        let usable = |link: &&Link| inventory.swallower(link).is_none() && admin.may_take(link);
        let present = link.filter(usable).map(|link| link.ifindex);
        if present == self.ifindex { (None, None) } else { (self.ifindex, present) }
    }

    /// Tells once when the interface is refused because it is a port, and when it is no more.
    pub(super) fn tell_port(&mut self, master: Option<&Link>) {
        let now = master.map(|master| master.ifindex);
        if now == self.port_of {
            return;
        }
        self.port_of = now;
        let interface = &self.config.name;
        if let Some(master) = master {
            let (why, name) = (port_of(master), &master.name);
            tracing::warn!(interface, "refused as a member: {why}; make {name} a member instead");
        } else {
            tracing::info!(interface, "it is no port any more");
        }
    }

    /// The interface has gone.
    pub(super) fn gone(&mut self) -> Event {
        self.ifindex = None;
        self.link = None;
        self.carrier_downs = None;
        self.sources = [None; 2];
        self.leaving = false;
        self.settling = None;
        Event::InterfaceGone { member: self.id }
    }

    /// The interface is there, and its programs are attached if it has any.
    pub(super) fn present(&mut self, link: &Link, adopted: Vec<ipnet::IpNet>, displaced: bool) -> Event {
        self.ifindex = Some(link.ifindex);
        self.link = link_up(link);
        // Losses while it settled may not have been told by netlink yet.
        self.carrier_downs = self.carrier_downs.max(link.carrier_down_count);
        Event::InterfacePresent(Presence {
            member: self.id,
            ifindex: link.ifindex,
            link_up: self.link,
            adopted,
            displaced,
        })
    }

    /// What the interface is.
    pub(super) fn hardware(&self, link: &Link) -> Event {
        let hardware = Hardware {
            mac: link.mac,
            mtu: link.mtu,
            link_type: link.link_type,
            ipv4: link.mtu >= MIN_MTU_IPV4,
            ipv6: link.mtu >= MIN_MTU_IPV6 && ipv6_enabled(&link.name),
        };
        Event::Hardware { member: self.id, hardware }
    }

    /// News from `RTM_NEWLINK`. The kernel's count of carrier losses shows flaps that were over before the
    /// message was made.
    pub(super) fn link_news(&mut self, now: Timestamp, link: &Link) -> Option<Event> {
        let up = link_up(link);
        if let Some(settling) = self.settling.as_mut().filter(|_| !self.leaving) {
            self.carrier_downs = link.carrier_down_count.max(self.carrier_downs);
            settling.hear(now, up != Some(false));
            return None;
        }
        if self.leaving {
            return None;
        }
        let (known, counted) = (self.carrier_downs, link.carrier_down_count);
        self.carrier_downs = counted.or(known);
        let downs = known.zip(counted).map_or(0, |(known, counted)| u64::from(counted.wrapping_sub(known)));
        self.carrier_news(up?, now, CarrierSource::Netlink, downs)
    }

    /// A carrier loss that a source faster than netlink has seen. That the carrier is back is only believed when
    /// netlink says so, see [`link_up`].
    pub(super) fn carrier_lost(&mut self, at: Timestamp, source: CarrierSource) -> Option<Event> {
        if self.link == Some(false) || self.leaving {
            return None;
        }
        // The count in the message that follows includes this loss.
        self.carrier_downs = self.carrier_downs.map(|count| count.wrapping_add(1));
        if let Some(settling) = &mut self.settling {
            settling.hear(at, false);
            return None;
        }
        self.carrier_news(false, at, source, 1)
    }

    /// Only who settles believes that, see [`link_up`].
    pub(super) fn carrier_back(&mut self, at: Timestamp) {
        if let Some(settling) = &mut self.settling {
            settling.hear(at, true);
        }
    }

    fn carrier_news(&mut self, up: bool, at: Timestamp, source: CarrierSource, downs: u64) -> Option<Event> {
        let hidden_flap = up && downs > 0 && self.link == Some(true);
        if self.link == Some(up) && !hidden_flap {
            return None;
        }
        self.link = Some(up);
        let downs = if up { u64::from(hidden_flap) * downs } else { downs.max(1) };
        Some(Event::Carrier { member: self.id, up, at, source, downs })
    }

    /// The addresses it probes from, IPv4 first.
    pub(super) fn probe_sources(&self) -> Vec<IpAddr> {
        self.sources.iter().flatten().copied().collect()
    }

    /// The addresses it may probe from, as far as they changed.
    pub(super) fn source_news(&mut self, inventory: &Inventory) -> Vec<Event> {
        let Some(ifindex) = self.ifindex.filter(|_| !self.is_withheld()) else { return Vec::new() };
        let mut events = Vec::new();
        for (known, family) in self.sources.iter_mut().zip(Family::ALL) {
            let address = inventory.probe_source(ifindex, family, &self.config.test);
            if *known != address {
                *known = address;
                events.push(Event::TestAddress { member: self.id, family, address });
            }
        }
        events
    }
}
