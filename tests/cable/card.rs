//! A card with two ports: functions of one PCI device, which is where the daemon is told that they belong together.

use anyhow::{Context as _, Result, ensure};
use ipmp_tests::{
    daemon::{Daemon, address_on, bin_dir, interface},
    skip,
    topology::data,
};

use crate::{FDT_MS, rig::Rig};

/// Exit status of a refused order, …
const REFUSED: i32 = 69;
/// … and of one that names nothing there is.
const USAGE: i32 = 64;

fn client(daemon: &Daemon, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let output = daemon.client(arguments)?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout) + &text(&output.stderr)))
}

/// Issue and guide (B11): each port alone could go, both together are all that works. The daemon runs in a network namespace
/// that has no sysfs of its own.
#[test]
fn b11_ports_of_one_card_are_detached_together() -> Result<()> {
    let Some(rig) = Rig::new()? else {
        skip::say("no NICs of a virtual machine: run `cargo xtask vm KERNEL --nic virtio-net`");
        return Ok(());
    };
    let [first, second] = &rig.functions;
    let (card, of) = (first.split_once('.').context("a function")?.0, second.split_once('.'));
    if of.map(|(card, _)| card) != Some(card) {
        skip::say("these NICs are on cards of their own");
        return Ok(());
    }
    let daemon = rig.start_daemon(FDT_MS)?;
    daemon.wait_healthy()?;
    for port in [first, second] {
        let (code, said) = client(&daemon, &["detach", "--check", "--device", port])?;
        ensure!(
            code == Some(0) && said.contains("can be detached; 2 data addresses"),
            "{port}: {code:?} {said}"
        );
    }
    let (code, said) = client(&daemon, &["detach", "--device", card])?;
    ensure!(
        code == Some(REFUSED) && said.contains("eth0, eth1: no other functioning interfaces"),
        "{code:?} {said}"
    );
    let (code, said) = client(&daemon, &["detach", "--device", "0000:77:00"])?;
    ensure!(code == Some(USAGE) && said.contains("0000:77:00: has no interface"), "{code:?} {said}");
    let (code, said) = client(&daemon, &["detach", "--device", first])?;
    ensure!(code == Some(0) && said.contains("eth0: is detached and may be removed"), "{code:?} {said}");
    let address = data(0, false).to_string();
    let status = daemon
        .wait_for("its address at the other port", |status| address_on(status, &address) == Some("eth1"))?;
    ensure!(interface(&status, "eth0")["state"] == "absent", "{status:#}");
    let (code, said) = client(&daemon, &["attach", "eth0"])?;
    ensure!(code == Some(0), "{code:?} {said}");
    daemon.wait_healthy()?;
    Ok(())
}

/// B28: sections tied to hardware by its permanent address and by its PCI function, under names that are nobody's.
#[test]
fn b28_ports_of_one_card_are_found_by_their_hardware() -> Result<()> {
    let Some(rig) = Rig::new()? else {
        skip::say("no NICs of a virtual machine: run `cargo xtask vm KERNEL --nic virtio-net`");
        return Ok(());
    };
    let shown = rig.host.ip("-o link show dev eth0")?;
    let mac =
        shown.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).context("an address")?;
    let text = Rig::config(FDT_MS)
        .to_string()
        .replace("interface.eth0]\n", &format!("interface.front]\nmac = \"{mac}\"\n"))
        .replace("interface.eth1]\n", &format!("interface.back]\npci = \"{}\"\n", rig.functions[1]));
    // A program's own address that is the other's permanent one counts for nothing.
    rig.host.batch("link add eth7 type veth peer name eth8")?;
    rig.host.batch(&format!("link set eth7 address {mac}"))?;
    let daemon = Daemon::start_from(&rig.host, &text, bin_dir()?)?;
    let status = daemon.wait_healthy()?;
    for (n, name, section) in [(0, "eth0", "front"), (1, "eth1", "back")] {
        ensure!(interface(&status, name)["device"]["section"] == section, "{status:#}");
        ensure!(address_on(&status, &data(n, false).to_string()) == Some(name), "{status:#}");
    }
    Ok(())
}
