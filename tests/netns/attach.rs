//! B2 to B8 and B18 to B21: interfaces that appear, by hand or by hot-plug.

use std::fs;

use anyhow::{Context as _, Result};
use ipmp_tests::{
    config::{Config, Member},
    daemon::{address_on, group, interface},
    netns::{Netns, ip_words},
    snapshot::Snapshot,
    topology::{data, test4},
    wait::{self, now_ns},
};

use crate::{
    Bed, FDT_MS, Traffic,
    detach::{client, order},
    reload::{reload, three},
};

/// Deletes NIC `n` of the host, cable and all.
fn delete(bed: &Bed, n: usize) -> Result<()> {
    bed.lab.host.batch(&format!("link delete eth{n}"))
}

/// Makes it again as the kernel would on hot-plug: down, without addresses.
fn replug(bed: &Bed, n: usize) -> Result<()> {
    let (host, switch, index) = (bed.lab.host.name(), bed.lab.switch.name(), 101 + n);
    ip_words(&format!(
        "link add name eth{n} index {index} netns {host} type veth peer name p{n} index {index} netns {switch}"
    ))?;
    bed.lab.switch.batch(&format!("link set p{n} master br0\nlink set p{n} up"))
}

#[test]
fn b8_b20_b27_a_connection_lives_through_a_device_that_is_deleted_and_made_again() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = bed.places()?;
    let traffic = Traffic::start(&bed.lab, false)?;
    let address = data(0, false).to_string();
    delete(&bed, 0)?;
    bed.wait_state("eth0", "absent")?;
    bed.wait_address_on(&address, "eth1")?;
    traffic.wait_flow()?;
    let (code, said) = client(&bed, &["offline", "eth0"])?;
    assert_eq!((code, said.contains("there is no such interface")), (Some(69), true), "{said}");
    let from_ns = now_ns();
    replug(&bed, 0)?;
    bed.daemon.wait_healthy()?;
    traffic.wait_flow()?;
    bed.wait_places(&before)?;
    let events = bed.daemon.events_since(from_ns)?;
    let first = |kind: &str| events.iter().position(|event| event["kind"] == kind).context(kind.to_owned());
    assert!(first("repaired")? < first("moved")?, "proved before it serves: {events:#?}");
    traffic.tcp.finish().map(drop)
}

#[test]
fn a_connection_lives_through_a_namespace_move() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = bed.places()?;
    let traffic = Traffic::start(&bed.lab, false)?;
    let elsewhere = Netns::new("elsewhere")?;
    bed.lab.host.batch(&format!("link set eth0 netns {}", elsewhere.name()))?;
    bed.wait_state("eth0", "absent")?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    traffic.wait_flow()?;
    elsewhere.batch(&format!("link set eth0 netns {}", bed.lab.host.name()))?;
    bed.daemon.wait_healthy()?;
    traffic.wait_flow()?;
    bed.wait_places(&before)?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn b19_detached_removed_and_put_back_it_is_configured_from_the_file() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let before = bed.places()?;
    let traffic = Traffic::start(&bed.lab, false)?;
    order(&bed, &["detach", "eth0"])?;
    delete(&bed, 0)?;
    replug(&bed, 0)?;
    bed.daemon.wait_healthy()?;
    bed.wait_places(&before)?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn b18_b21_without_an_entry_it_only_comes_up() -> Result<()> {
    let mut config = Config::active_active(FDT_MS);
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let traffic = Traffic::start(&bed.lab, false)?;
    order(&bed, &["detach", "eth0"])?;
    delete(&bed, 0)?;
    config.members.remove(0);
    fs::write(bed.daemon.files().config(), config.to_string())?;
    order(&bed, &["reload"])?;
    replug(&bed, 0)?;
    wait::until("it is up", || Ok(bed.lab.host.ip("link show dev eth0")?.contains(",UP")))?;
    bed.daemon.wait_healthy()?;
    let shown = bed.lab.host.ip("-d address show dev eth0")?;
    assert!(!shown.contains("scope global") && !shown.contains("/32") && !shown.contains("xdp"), "{shown}");
    assert_eq!(address_on(&bed.daemon.status()?, &data(0, false).to_string()), Some("eth1"));
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn b4_b5_b6_b7_an_interface_is_attached_to_a_group_and_into_the_file() -> Result<()> {
    let config = Config::active_standby(FDT_MS);
    let Some(bed) = three(&config)? else {
        return Ok(());
    };
    let traffic = Traffic::start(&bed.lab, false)?;
    let (code, said) = client(&bed, &["attach", "eth2"])?;
    assert_eq!((code, said.contains("--group")), (Some(64), true), "{said}");
    let (code, said) = client(&bed, &["attach", "eth1", "--group", "ipmp0"])?;
    assert_eq!((code, said.contains("in group ipmp0 already")), (Some(69), true), "{said}");
    // Checked like a file.
    let (code, said) =
        client(&bed, &["attach", "eth2", "--group", "ipmp0", "--test", &test4(0).to_string()])?;
    assert_eq!((code, said.contains("is already the test address of eth0")), (Some(65), true), "{said}");

    bed.lab.host.batch("link set eth2 down")?;
    let test = test4(2).to_string();
    let joined =
        ["attach", "eth2", "--group", "ipmp0", "--data", "192.168.10.12/24", "--test", &test, "--persist"];
    let said = order(&bed, &joined)?;
    assert_eq!(said, "eth2: is attached to group ipmp0, also after a restart\n");
    bed.daemon.wait_for("eth2 works", |status| interface(status, "eth2")["probe"] == "ok")?;
    wait::until("its address serves", || {
        Ok(bed.lab.host.ip("-4 address show dev eth2")?.contains("192.168.10.12/24"))
    })?;
    traffic.wait_flow()?;
    let written = fs::read_to_string(bed.daemon.files().config())?;
    assert!(written.starts_with(config.to_string().trim_end()), "what was there is kept: {written}");
    assert!(written.contains("[group.ipmp0.interface.eth2]\ndata = [\"192.168.10.12/24\"]"), "{written}");
    assert!(order(&bed, &["reload"])?.ends_with("nothing is different\n"));
    // It covers the others.
    bed.lab.cut(0)?;
    bed.lab.cut(1)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth2")?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}

#[test]
fn b7_what_was_attached_for_now_is_made_to_last_by_a_later_order() -> Result<()> {
    let config = Config::active_standby(FDT_MS);
    let Some(bed) = three(&config)? else {
        return Ok(());
    };
    let joined = ["attach", "eth2", "--group", "ipmp0", "--data", "192.168.10.12/24", "--standby"];
    assert_eq!(order(&bed, &joined)?, "eth2: is attached to group ipmp0, until the next reload or restart\n");
    bed.wait_state("eth2", "ok")?;
    let (file, from_ns) = (bed.daemon.files().config(), now_ns());
    let keep = ["attach", "eth2", "--persist"];
    assert_eq!(order(&bed, &keep)?, format!("eth2: is in {} now\n", file.display()));
    let section = "[group.ipmp0.interface.eth2]\ndata = [\"192.168.10.12/24\"]\nstandby = true\n";
    let written = fs::read_to_string(&file)?;
    assert_eq!(written, format!("{config}\n{section}"));
    let (code, said) = client(&bed, &keep)?;
    assert_eq!((code, said.contains("has a section for eth2 already")), (Some(69), true), "{said}");
    assert!(order(&bed, &["reload"])?.ends_with("nothing is different\n"));
    let events = bed.daemon.events_since(from_ns)?;
    assert!(events.iter().all(|event| event["interface"] != "eth2"), "nothing happened to it: {events:#?}");
    Ok(())
}

#[test]
fn b5_b7_a_new_group_lasts_until_the_next_reload() -> Result<()> {
    let config = Config::active_active(FDT_MS);
    let Some(bed) = three(&config)? else {
        return Ok(());
    };
    let before = Snapshot::take(&bed.lab.host)?;
    let said = order(&bed, &["attach", "eth2", "--group", "lab", "--data", "10.9.8.7/24"])?;
    assert_eq!(
        said,
        "eth2: is attached to a new group, lab, until the next reload or restart; it is alone in it, so nothing can take over its addresses\n"
    );
    bed.daemon.wait_for("two groups", |status| {
        status["groups"].as_array().is_some_and(|groups| groups.len() == 2 && groups[1]["name"] == "lab")
    })?;
    wait::until("its address serves", || {
        Ok(bed.lab.host.ip("-4 address show dev eth2")?.contains("10.9.8.7/24"))
    })?;
    let said = order(&bed, &["reload"])?;
    assert!(said.contains("group lab: removed"), "{said}");
    assert_eq!(group(&bed.daemon.status()?)["state"], "ok");
    bed.lab.host.batch("address delete 10.9.8.7/24 dev eth2")?;
    bed.wait_unchanged_since(&before)
}

/// Members without data addresses need nothing but their name.
#[test]
fn b8_a_member_that_appears_serves_as_if_it_had_always_been_there() -> Result<()> {
    let mut config = Config::active_active(FDT_MS).with("quiet-period", "\"0s\"");
    config.members.push(Member {
        name: "eth2".into(),
        data: vec!["192.168.10.12/24".into()],
        test: vec![test4(2).to_string()],
        standby: false,
    });
    let text = format!("boot-wait = \"0s\"\n{config}");
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    fs::write(bed.daemon.files().config(), text)?;
    order(&bed, &["reload"])?;
    bed.wait_state("eth2", "absent")?;
    replug(&bed, 2)?;
    bed.daemon.wait_healthy()?;
    wait::until("its address is at home", || {
        Ok(bed.lab.host.ip("-4 address show dev eth2")?.contains("192.168.10.12/24"))
    })
}

#[test]
fn b28_an_interface_with_another_hardware_address_is_not_taken() -> Result<()> {
    let config = Config::active_active(FDT_MS);
    let Some(bed) = Bed::healthy(&config)? else {
        return Ok(());
    };
    let traffic = Traffic::start(&bed.lab, false)?;
    let links: serde_json::Value = serde_json::from_str(&bed.lab.host.ip("-j link show dev eth0")?)?;
    let own = links[0]["address"].as_str().context("its hardware address")?.to_owned();
    let tied = |mac: &str| {
        let section = format!("[group.ipmp0.interface.eth0]\nmac = \"{mac}\"");
        config.to_string().replace("[group.ipmp0.interface.eth0]", &section)
    };
    let said = reload(&bed, &tied("02:00:00:00:00:99"))?;
    assert!(said.contains("eth0: mac: any → 02:00:00:00:00:99"), "{said}");
    bed.wait_state("eth0", "absent")?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    bed.wait_log("its hardware address is")?;
    let status = bed.daemon.status()?;
    let reason = interface(&status, "eth0")["reason"].as_str().context("a reason")?.to_owned();
    assert!(reason.contains("and mac says 02:00:00:00:00:99"), "{reason}");
    for order in ["offline", "detach", "attach"] {
        let (code, said) = client(&bed, &[order, "eth0"])?;
        assert_eq!((code, said.contains(&reason)), (Some(69), true), "{order}: {said}");
    }
    traffic.wait_flow()?;
    reload(&bed, &tied(&own))?;
    bed.daemon.wait_healthy()?;
    traffic.wait_flow()?;
    traffic.tcp.finish().map(drop)
}
