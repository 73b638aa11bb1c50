//! `ipmp` under the names of Solaris's programs, and its view of a failover, with the real daemon.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, anyhow};
use ipmp_common::abi::{ABI_VERSION, SESSION_NOTIFY_EACH, map};
use ipmp_tests::{
    config::Config,
    daemon::bin_dir,
    skip,
    topology::{data, peer4, test4},
    wait,
};
use serde_json::Value;

use crate::{Bed, FDT_MS};

/// `ipmp` under another name, for the bed's daemon.
fn program(bed: &Bed, name: &str) -> Result<Command> {
    let link = bed.daemon.files().runtime().join(name);
    if !link.exists() {
        symlink(bin_dir()?.join("ipmp"), &link).context("a link to ipmp")?;
    }
    let mut command = Command::new(link);
    command.arg("--runtime-dir").arg(bed.daemon.files().runtime()).stdin(Stdio::null());
    Ok(command)
}

/// Exit status, standard output and standard error.
fn run(bed: &Bed, name: &str, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let output = program(bed, name)?.args(arguments).output().context("running ipmp")?;
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout), text(&output.stderr)))
}

#[test]
fn a35_if_mpadm_moves_the_addresses_away_and_back() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let address = data(0, false).to_string();
    let row = |bed: &Bed| {
        run(bed, "ipmpstat", &["-i", "-P", "-o", "interface,active,flags,state"])
            .map(|(_, out, _)| out.lines().next().unwrap_or_default().to_owned())
    };
    assert_eq!(row(&bed)?, "eth0:yes:-------:ok");
    assert_eq!(run(&bed, "if_mpadm", &["-d", "eth0"])?, (Some(0), String::new(), String::new()));
    bed.wait_address_on(&address, "eth1")?;
    assert_eq!(row(&bed)?, "eth0:no:-----d-:offline");
    let last =
        "if_mpadm: fatal: cannot offline eth1: no other functioning interfaces are in its IPMP group\n";
    assert_eq!(run(&bed, "if_mpadm", &["-d", "eth1"])?, (Some(1), String::new(), last.to_owned()));
    assert_eq!(run(&bed, "if_mpadm", &["-r", "eth0"])?, (Some(0), String::new(), String::new()));
    bed.wait_address_on(&address, "eth0")?;
    let not = "if_mpadm: fatal: interface eth0 is not offline\n";
    assert_eq!(run(&bed, "if_mpadm", &["-r", "eth0"])?, (Some(1), String::new(), not.to_owned()));
    Ok(())
}

#[test]
fn ipmpstat_streams_live_probes_with_both_round_trips() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    let mut child = program(&bed, "ipmpstat")?
        .args(["-p", "-P", "-o", "interface,probe,netrtt,rtt"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("running ipmpstat")?;
    let mut lines = BufReader::new(child.stdout.take().context("its output")?).lines();
    let milliseconds = |text: &str| text.strip_suffix("ms").and_then(|number| number.parse::<f64>().ok());
    let mut row = || -> Result<[String; 4]> {
        let line = lines.next().context("it ended")??;
        let fields: Vec<String> = line.split(':').map(str::to_owned).collect();
        fields.try_into().map_err(|fields| anyhow!("four fields, not {fields:?}"))
    };
    let (mut answered, mut seen) = (0, BTreeMap::<String, u64>::new());
    wait::until("sixty answered probes", || {
        let [interface, probe, net, daemon] = row()?;
        assert!(interface.starts_with("eth") && probe.parse::<u64>().is_ok(), "{interface} {probe}");
        *seen.entry(interface).or_default() += 1;
        // None is left out, as if the daemon were woken by one answer in sixteen.
        if let Some(net) = milliseconds(&net) {
            let daemon = milliseconds(&daemon).with_context(|| format!("no round trip: {daemon:?}"))?;
            assert!(net <= daemon, "the kernel's round trip lies within the daemon's: {net} {daemon}");
            answered += 1;
        }
        Ok(answered >= 60)
    })?;
    assert!(seen.len() == 2, "{seen:?}");
    wait_woken_for_each(&bed, true)?;
    bed.lab.cut(0)?;
    wait::until("five probes lost in a row", || {
        let mut lost = 0;
        while lost < 5 {
            let [interface, _, net, daemon] = row()?;
            if interface == "eth0" {
                lost = if net.is_empty() && daemon.is_empty() { lost + 1 } else { 0 };
            }
        }
        Ok(true)
    })?;
    // It goes when its reader has gone.
    drop(lines);
    let mut errors = String::new();
    child.stderr.take().context("its errors")?.read_to_string(&mut errors)?;
    assert_eq!((child.wait()?.code(), errors.as_str()), (Some(0), ""));
    wait_woken_for_each(&bed, false)
}

/// Waits until every answer wakes the daemon, or no longer each one, by the flags in the kernel's map.
fn wait_woken_for_each(bed: &Bed, each: bool) -> Result<()> {
    let Some(bpftool) = skip::find_program("bpftool") else {
        skip::say("`bpftool` is missing: run `cargo xtask setup`");
        return Ok(());
    };
    let pin = bed.daemon.files().pins().join(format!("v{ABI_VERSION}")).join(map::SESSION);
    if !pin.exists() {
        skip::say("no programs in this kernel: the daemon is never woken by answers");
        return Ok(());
    }
    wait::until(&format!("sessions whose every answer wakes the daemon: {each}"), || {
        let output = Command::new(&bpftool).args(["-j", "map", "dump", "pinned"]).arg(&pin).output()?;
        let dump: Value = serde_json::from_slice(&output.stdout).context("bpftool's answer")?;
        let sessions = dump.as_array().context("a list")?.iter().map(|entry| &entry["formatted"]["value"]);
        let mut armed = sessions.filter(|session| session["token"] != 0).peekable();
        let is_so = |session: &Value| {
            session["flags"].as_u64().is_some_and(|flags| flags & u64::from(SESSION_NOTIFY_EACH) != 0) == each
        };
        Ok(armed.peek().is_some() && armed.all(is_so))
    })
}

#[test]
fn ipmpstat_shows_no_targets_of_a_family_that_is_not_probed() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS).discovering())? else {
        return Ok(());
    };
    let rows = |bed: &Bed| -> Result<Vec<String>> {
        let (_, text, _) = run(bed, "ipmpstat", &["-n", "-t", "-P", "-o", "interface,mode,targets"])?;
        Ok(text.lines().map(str::to_owned).collect())
    };
    assert_eq!(rows(&bed)?.len(), 4, "both families have a router: {:?}", rows(&bed)?);
    bed.lab.host.ip("-6 route del default")?;
    let wanted = [0, 1].map(|nic| format!("eth{nic}:routes:{}", peer4(0)));
    let mut shown = Vec::new();
    wait::until("only IPv4 is probed", || {
        shown = rows(&bed)?;
        Ok(shown == wanted)
    })
    .with_context(|| format!("{shown:?}"))?;
    // Nor where no probe can leave.
    bed.lab.pull(1)?;
    bed.wait_state("eth1", "failed")?;
    assert_eq!(rows(&bed)?, wanted);
    Ok(())
}

/// ipmpstat would be silent for ever, and so would look broken.
#[test]
fn ipmpstat_says_that_nothing_is_probed() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    for nic in 0..2 {
        bed.lab.pull(nic)?;
        bed.wait_state(&format!("eth{nic}"), "failed")?;
    }
    let mut child =
        program(&bed, "ipmpstat")?.arg("-p").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut told = BufReader::new(child.stderr.take().context("its errors")?).lines();
    let line = told.next().context("it ended")??;
    assert!(line.starts_with("ipmpstat: warning: no interface is being probed now"), "{line}");
    // It waits for probes.
    bed.lab.plug(0)?;
    let mut rows = BufReader::new(child.stdout.take().context("its output")?).lines();
    let (heading, row) = (rows.next().context("it ended")??, rows.next().context("it ended")??);
    assert!(heading.starts_with("TIME") && row.contains("eth0"), "{heading}\n{row}");
    drop(rows);
    assert!(child.wait()?.success());

    for interface in ["eth0", "eth1"] {
        let done = bed.daemon.client(&["offline", interface, "--force"])?;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
    let (code, _, told) = run(&bed, "ipmpstat", &["-p"])?;
    assert_eq!((code, told.as_str()), (Some(1), "ipmpstat: probe-based failure detection is disabled\n"));
    Ok(())
}

#[test]
fn a53_a55_a57_a_failover_as_ifconfig_showed_it() -> Result<()> {
    let Some(bed) = Bed::healthy(&Config::active_active(FDT_MS).only(false))? else {
        return Ok(());
    };
    let shown = |bed: &Bed| -> Result<String> {
        Ok(String::from_utf8_lossy(&bed.daemon.client(&["status", "--solaris"])?.stdout).into_owned())
    };
    let data_line = format!("\tinet {} netmask ", data(0, false));
    let before = shown(&bed)?;
    assert!(before.starts_with("eth0: flags=1000843<UP,BROADCAST,RUNNING,MULTICAST,IPv4> mtu "), "{before}");
    assert!(before.contains(&data_line) && before.contains("\tether "), "{before}");
    let test = format!(
        "eth0:1: flags=9040843<UP,BROADCAST,RUNNING,MULTICAST,DEPRECATED,IPv4,NOFAILOVER> mtu 1500 index {}\n\tinet {} ",
        before.lines().next().and_then(|line| line.rsplit(' ').next()).unwrap_or_default(),
        test4(0)
    );
    assert!(before.contains(&test), "{before}\nlacks\n{test}");
    bed.lab.cut(0)?;
    bed.wait_address_on(&data(0, false).to_string(), "eth1")?;
    let after = shown(&bed)?;
    let failed = "eth0: flags=19000842<BROADCAST,RUNNING,MULTICAST,IPv4,NOFAILOVER,FAILED> mtu ";
    assert!(after.starts_with(failed), "{after}");
    assert!(after.contains(&test), "the test address stays up: {after}");
    let moved = after.find("eth1:2: flags=1000843<").context("no third logical interface on eth1")?;
    assert!(after[moved..].contains(&data_line), "{after}");
    Ok(())
}
