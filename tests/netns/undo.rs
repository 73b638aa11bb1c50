//! B16: a detach whose later steps fail. The system calls that fail are chosen, see [`ipmp_tests::call_fault`].

use std::{
    fs,
    net::{IpAddr, Ipv6Addr},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    call_fault::{self, CallFault, CallFaults, Failing},
    config::Config,
    daemon::Daemon,
    skip,
    snapshot::Snapshot,
    topology::{Lab, Shape, data, test4},
    wait,
};
use nix::errno::Errno;

use crate::{
    Bed, FDT_MS, Traffic,
    crash::is_noted,
    detach::{client, order},
    release::{Settings, settings},
};

/// The thread that changes addresses, routes and links.
const APPLIER: &str = "ipmp-apply";
/// The thread that changes programs and settings.
const LOOP: &str = "ipmpd";
/// linux/rtnetlink.h.
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
/// A test address beside the IPv4 one, so that the step has two requests.
const TEST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x10, 0, 0, 0, 0, 0x110);
const RESTORED: &str = "; the previous configuration is restored\n";

/// A healthy group, how it is, and how its host was before.
struct Scene {
    bed: Bed,
    addresses: Snapshot,
    places: Vec<String>,
    settings: Vec<Settings>,
    settings_at_first: Vec<Settings>,
}

impl Scene {
    /// `None` where the tests cannot run, which has been said then.
    fn set(members: usize) -> Result<Option<Self>> {
        if !skip::can_run() {
            return Ok(None);
        }
        if let Some(reason) = call_fault::missing() {
            skip::say(reason);
            return Ok(None);
        }
        let lab = Lab::new(&Shape { members, data_members: members, ..Shape::default() })?;
        let settings_at_first = settings(&lab.host)?;
        let mut config = Config::new(FDT_MS, members, members);
        config.members[0].test.push(TEST6.to_string());
        let bed = Bed { daemon: Daemon::start(&lab.host, &config)?, lab };
        bed.daemon.wait_healthy()?;
        // IPv6 lists the newest first: before the first move, test addresses; after it, data addresses.
        order(&bed, &["offline", "eth0"])?;
        wait::until("eth0 without its data addresses", || {
            let shown = bed.lab.host.ip("address show dev eth0")?;
            Ok([false, true].iter().all(|ipv6| !shown.contains(&format!("{}/", data(0, *ipv6)))))
        })?;
        order(&bed, &["online", "eth0"])?;
        bed.daemon.wait_healthy()?;
        wait::until("the start is noted", || Ok(is_noted(&bed, "eth0")))?;
        let (addresses, places, settings) =
            (Snapshot::take(&bed.lab.host)?, bed.places()?, settings(&bed.lab.host)?);
        Ok(Some(Self { bed, addresses, places, settings, settings_at_first }))
    }

    /// Detaches while these calls of this thread fail; what is said.
    fn fail(&self, nics: &[&str], thread: &str, faults: Vec<CallFault>) -> Result<String> {
        let faults = CallFaults::inject(self.bed.daemon.pid(), thread, faults)?;
        let mut arguments = vec!["detach"];
        arguments.extend(nics);
        let (code, said) = client(&self.bed, &arguments)?;
        let left = faults.left()?;
        ensure!(left.is_empty(), "{left:?} have not come about: {code:?}: {said}");
        ensure!(code == Some(70), "{code:?}: {said}{}", self.bed.daemon.log_tail());
        Ok(said)
    }

    /// Addresses, routes, programs and settings are what they were; the interface serves, and is probed.
    fn ensure_as_before(&self, nic: usize) -> Result<()> {
        self.bed.wait_unchanged_since(&self.addresses)?;
        self.ensure_serves(nic)?;
        self.bed.wait_unchanged_since(&self.addresses)
    }

    /// The same, without the kernel's own routes, whose order tells which link came up last.
    fn ensure_serves(&self, nic: usize) -> Result<()> {
        let name = format!("eth{nic}");
        self.bed.daemon.wait_healthy().context("healthy again")?;
        for ipv6 in [false, true] {
            self.bed.wait_address_on(&data(nic, ipv6).to_string(), &name)?;
        }
        self.bed.wait_places(&self.places)?;
        ensure!(settings(&self.bed.lab.host)? == self.settings, "its settings");
        let link = self.bed.lab.host.ip(&format!("-d link show dev {name}"))?;
        ensure!(link.contains("xdp"), "its program: {link}");
        // Its carrier stays: only probes tell of it.
        self.bed.lab.cut(nic)?;
        self.bed.wait_state(&name, "failed")?;
        self.bed.lab.mend(nic)?;
        self.bed.daemon.wait_healthy().context("mended")?;
        self.bed.wait_places(&self.places)
    }

    /// What stood in the way gone, it works.
    fn ensure_detachable(&self, nic: &str) -> Result<()> {
        order(&self.bed, &["detach", nic])?;
        let shown = self.bed.lab.host.ip(&format!("-d address show dev {nic}"))?;
        ensure!(
            !shown.contains("scope global") && !shown.contains("xdp") && shown.contains("state DOWN"),
            "{shown}"
        );
        let all = settings(&self.bed.lab.host)?;
        ensure!(all[0] == self.settings_at_first[0], "settings of others' making: {all:?}");
        Ok(())
    }
}

fn bytes(address: impl Into<IpAddr>) -> Vec<u8> {
    match address.into() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn ifindex(bed: &Bed, nic: &str) -> Result<u32> {
    let shown = bed.lab.host.ip(&format!("-o link show dev {nic}"))?;
    shown.split(':').next().context("an ifindex")?.parse().context("an ifindex")
}

/// The pin of a program on an interface, if there is one.
fn pin_of(directory: &Path, ifindex: u32) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry?.path();
        let found = if path.is_dir() {
            pin_of(&path, ifindex)?
        } else {
            Some(path).filter(|path| path.to_string_lossy().ends_with(&ifindex.to_string()))
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn link(failing: Failing) -> CallFault {
    CallFault::netlink(RTM_SETLINK, [], failing)
}

/// One of them goes and the other does not, none goes, or both go and it is not known.
#[test]
fn b16_test_addresses_that_stay_bring_everything_back() -> Result<()> {
    let Some(scene) = Scene::set(2)? else { return Ok(()) };
    let traffic = Traffic::start(&scene.bed.lab, false)?;
    for failing in [Failing::Message, Failing::Undone(Errno::ENOBUFS), Failing::Done(Errno::ENOBUFS)] {
        let fault = CallFault::netlink(RTM_DELADDR, bytes(TEST6), failing);
        let said = scene.fail(&["eth0"], APPLIER, vec![fault]).with_context(|| format!("{failing:?}"))?;
        assert!(said.contains("eth0: detach failed at taking its test addresses off: "), "{said}");
        assert!(said.ends_with(RESTORED), "{said}");
        scene.ensure_as_before(0).with_context(|| format!("after {failing:?}: {said}"))?;
    }
    traffic.wait_flow()?;
    scene.ensure_detachable("eth0")?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

/// Programs are held by pins in the bpf file system.
#[test]
fn b16_a_program_that_stays_brings_everything_back() -> Result<()> {
    let Some(scene) = Scene::set(2)? else { return Ok(()) };
    let Some(pin) = pin_of(&scene.bed.daemon.files().pins(), ifindex(&scene.bed, "eth0")?)? else {
        skip::say("nothing is pinned here");
        return Ok(());
    };
    let said = scene.fail(&["eth0"], LOOP, vec![CallFault::removing(&pin, Errno::EPERM)])?;
    assert!(said.contains("eth0: detach failed at taking its programs and settings away: "), "{said}");
    assert!(said.contains(&pin.display().to_string()) && said.ends_with(RESTORED), "{said}");
    scene.ensure_as_before(0)?;
    scene.ensure_detachable("eth0")
}

#[test]
fn b16_settings_that_cannot_be_put_back_bring_everything_back() -> Result<()> {
    let Some(scene) = Scene::set(2)? else { return Ok(()) };
    let path = "/proc/sys/net/ipv4/conf/eth0/arp_announce";
    let said = scene.fail(&["eth0"], LOOP, vec![CallFault::writing(path, Errno::EACCES)])?;
    assert!(said.contains("eth0: detach failed at taking its programs and settings away: "), "{said}");
    assert!(said.contains(path) && said.ends_with(RESTORED), "{said}");
    scene.ensure_as_before(0)?;
    // What could not be put back is still remembered.
    scene.ensure_detachable("eth0")
}

/// It stays up, or goes down and is set up again.
#[test]
fn b16_a_link_that_cannot_be_set_down_serves_again() -> Result<()> {
    let Some(scene) = Scene::set(2)? else { return Ok(()) };
    let traffic = Traffic::start(&scene.bed.lab, false)?;
    for failing in [Failing::Message, Failing::Undone(Errno::EBUSY), Failing::Done(Errno::EBUSY)] {
        let said =
            scene.fail(&["eth0"], APPLIER, vec![link(failing)]).with_context(|| format!("{failing:?}"))?;
        assert!(said.contains("eth0: detach failed at setting its link down: "), "{said}");
        assert!(said.ends_with(RESTORED), "{said}");
        if failing == Failing::Done(Errno::EBUSY) {
            scene.ensure_serves(0)
        } else {
            scene.ensure_as_before(0)
        }
        .with_context(|| format!("after {failing:?}: {said}"))?;
    }
    traffic.wait_flow()?;
    scene.ensure_detachable("eth0")?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

/// The first goes down; the second does not.
#[test]
fn b16_of_two_interfaces_the_one_that_was_down_is_up_again() -> Result<()> {
    let Some(scene) = Scene::set(3)? else { return Ok(()) };
    let index = ifindex(&scene.bed, "eth1")?;
    let fault = CallFault::netlink(RTM_SETLINK, index.to_ne_bytes(), Failing::Undone(Errno::EBUSY));
    let said = scene.fail(&["eth0", "eth1"], APPLIER, vec![fault])?;
    assert!(said.contains("eth0, eth1: detach failed at setting its link down: "), "{said}");
    assert!(said.ends_with(RESTORED), "{said}");
    scene.ensure_serves(0)?;
    scene.ensure_serves(1)
}

/// The link stays down. It is told, everything else is back, and with the link the interface serves.
#[test]
fn b16_a_step_back_that_fails_is_told_and_the_others_are_taken() -> Result<()> {
    let Some(scene) = Scene::set(2)? else { return Ok(()) };
    let faults = vec![link(Failing::Done(Errno::EBUSY)), link(Failing::Undone(Errno::EIO))];
    let said = scene.fail(&["eth0"], APPLIER, faults)?;
    assert!(said.contains("eth0: detach failed at setting its link down: "), "{said}");
    assert!(said.contains("; the previous configuration is restored, except: "), "{said}");
    assert!(said.contains("up: ") && said.contains("Input/output error"), "{said}");
    let host = &scene.bed.lab.host;
    let shown = host.ip("-d address show dev eth0")?;
    assert!(shown.contains("state DOWN") && shown.contains("xdp"), "{shown}");
    assert!(shown.contains(&format!("{}/", test4(0))) && shown.contains(&TEST6.to_string()), "{shown}");
    assert_eq!(settings(host)?, scene.settings);
    host.batch("link set eth0 up")?;
    scene.ensure_serves(0)
}

/// A test address is not back at once. It is told, and it comes with the next look.
#[test]
fn b16_a_test_address_that_cannot_be_put_back_is_told() -> Result<()> {
    let Some(scene) = Scene::set(2)? else { return Ok(()) };
    let faults = vec![
        link(Failing::Undone(Errno::EBUSY)),
        CallFault::netlink(RTM_NEWADDR, bytes(test4(0)), Failing::Message),
    ];
    let said = scene.fail(&["eth0"], APPLIER, faults)?;
    assert!(said.contains("eth0: detach failed at setting its link down: "), "{said}");
    let except = format!("; the previous configuration is restored, except: add address {}/", test4(0));
    assert!(said.contains(&except), "{said}");
    scene.ensure_as_before(0)
}

/// A data address is not back at once. The answer waits for it, and tells.
#[test]
fn b16_a_data_address_that_does_not_return_is_told() -> Result<()> {
    let Some(scene) = Scene::set(2)? else { return Ok(()) };
    let faults = vec![
        link(Failing::Undone(Errno::EBUSY)),
        CallFault::netlink(RTM_NEWADDR, bytes(data(0, false)), Failing::Undone(Errno::ENOBUFS)),
    ];
    let said = scene.fail(&["eth0"], APPLIER, faults)?;
    assert!(said.contains("; the previous configuration is restored, except: "), "{said}");
    assert!(said.contains(&format!("add address {}/", data(0, false))), "{said}");
    scene.ensure_as_before(0)
}

/// By force there is nobody to take the data addresses: they are taken off like the test addresses.
#[test]
fn b16_a_forced_detach_that_fails_brings_parked_addresses_back() -> Result<()> {
    let Some(scene) = Scene::set(2)? else { return Ok(()) };
    let traffic = Traffic::start(&scene.bed.lab, false)?;
    scene.bed.lab.cut(1)?;
    scene.bed.wait_state("eth1", "failed")?;
    let fault = link(Failing::Undone(Errno::EBUSY));
    let said = scene.fail(&["--force", "eth0"], APPLIER, vec![fault])?;
    assert!(said.ends_with(RESTORED), "{said}");
    traffic.wait_flow()?;
    let shown = scene.bed.lab.host.ip("address show dev eth0")?;
    for ipv6 in [false, true] {
        assert!(shown.contains(&format!("{}/", data(0, ipv6))), "{shown}");
    }
    scene.bed.lab.mend(1)?;
    scene.ensure_as_before(0)?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}
