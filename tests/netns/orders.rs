//! Orders of the administrator that meet: neither may undo the other, and each gets its answer.

use std::{
    fs,
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, anyhow, ensure};
use ipmp_tests::{
    call_fault::{self, CallFault, CallFaults, Failing},
    config::Config,
    daemon::{Daemon, interface},
    held_call::Held,
    skip,
    topology::{Lab, Shape, test4},
    wait,
};
use nix::{errno::Errno, sys::signal::Signal};

use crate::{
    Bed, FDT_MS,
    detach::{client, order},
    reload::three,
};

/// The thread that changes addresses, routes and links.
const APPLIER: &str = "ipmp-apply";
/// linux/rtnetlink.h.
const RTM_SETLINK: u16 = 19;

/// Whether an order was refused because another one is under way.
fn ensure_waits(bed: &Bed, words: &[&str]) -> Result<()> {
    let (code, said) = client(bed, words)?;
    ensure!(
        code == Some(69) && said.contains("an attach is under way"),
        "{words:?}: {code:?}: {said}{}",
        bed.daemon.log_tail()
    );
    Ok(())
}

#[test]
fn b4_b9_what_comes_during_an_attach_waits_and_the_attach_gets_its_answer() -> Result<()> {
    let Some(bed) = three(&Config::active_active(FDT_MS))? else {
        return Ok(());
    };
    bed.lab.host.batch("link set eth2 down")?;
    let held = Held::at_netlink(bed.daemon.pid(), APPLIER, RTM_SETLINK)?;
    let test = test4(2).to_string();
    let joined = ["attach", "eth2", "--group", "ipmp0", "--test", &test];
    let said = thread::scope(|scope| -> Result<String> {
        let attach = scope.spawn(|| order(&bed, &joined));
        held.wait()?;
        ensure_waits(&bed, &["detach", "eth0"])?;
        ensure_waits(&bed, &["reload"])?;
        ensure_waits(&bed, &["attach", "lo", "--group", "other"])?;
        drop(held);
        attach.join().map_err(|_| anyhow!("the client panicked"))?
    })?;
    assert_eq!(said, "eth2: is attached to group ipmp0, until the next reload or restart\n");
    order(&bed, &["detach", "eth0"])?;
    bed.daemon.wait_for("eth2 works", |status| interface(status, "eth2")["state"] == "ok").map(drop)
}

/// A client that has been started and waits for its answer.
fn waiting_client(bed: &Bed, words: &[&str]) -> Result<Child> {
    let files = bed.daemon.files();
    let mut command = Command::new(files.bin_dir.join("ipmp"));
    command.arg("--runtime-dir").arg(files.runtime()).args(words);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("ipmp")?;
    let place = format!("/proc/{}/wchan", child.id());
    wait::until("the client has asked", || Ok(fs::read_to_string(&place)?.contains("unix_stream")))?;
    Ok(child)
}

#[test]
fn b4_b6_of_two_attaches_at_once_none_is_lost() -> Result<()> {
    let config = Config::active_active(FDT_MS);
    if !skip::can_run() {
        return Ok(());
    }
    let lab = Lab::new(&Shape { members: 4, data_members: 2, ..Shape::default() })?;
    let bed = Bed { daemon: Daemon::start(&lab.host, &config)?, lab };
    bed.daemon.wait_healthy()?;
    let tests = [test4(2).to_string(), test4(3).to_string()];
    // Both are there when the daemon wakes.
    bed.daemon.signal(Signal::SIGSTOP)?;
    let clients: Result<Vec<Child>> = ["eth2", "eth3"]
        .iter()
        .zip(&tests)
        .map(|(nic, test)| {
            waiting_client(&bed, &["attach", nic, "--group", "ipmp0", "--test", test, "--persist"])
        })
        .collect();
    bed.daemon.signal(Signal::SIGCONT)?;
    for client in clients? {
        let output = client.wait_with_output()?;
        ensure!(output.status.success(), "{output:?}{}", bed.daemon.log_tail());
    }
    let written = fs::read_to_string(bed.daemon.files().config())?;
    for nic in ["eth2", "eth3"] {
        bed.daemon
            .wait_for(&format!("{nic} works"), |status| interface(status, nic)["probe"] == "ok")
            .with_context(|| bed.daemon.log_tail())?;
        assert!(written.contains(&format!("[group.ipmp0.interface.{nic}]")), "{written}");
    }
    assert!(order(&bed, &["reload"])?.ends_with("nothing is different\n"));
    Ok(())
}

#[test]
fn b4_b6_an_attach_that_fails_is_not_in_the_file() -> Result<()> {
    if let Some(reason) = call_fault::missing() {
        skip::say(reason);
        return Ok(());
    }
    let config = Config::active_active(FDT_MS);
    let Some(bed) = three(&config)? else {
        return Ok(());
    };
    bed.lab.host.batch("link set eth2 down")?;
    let fault = CallFault::netlink(RTM_SETLINK, [], Failing::Undone(Errno::EPERM));
    let faults = CallFaults::inject(bed.daemon.pid(), APPLIER, vec![fault])?;
    let words = ["attach", "eth2", "--group", "ipmp0", "--test", &test4(2).to_string(), "--persist"];
    let (code, said) = client(&bed, &words)?;
    assert_eq!(faults.left()?, []);
    assert_eq!((code, said.contains("eth2: cannot be attached")), (Some(70), true), "{said}");
    assert_eq!(fs::read_to_string(bed.daemon.files().config())?, config.to_string());
    let said = order(&bed, &words)?;
    assert_eq!(said, "eth2: is attached to group ipmp0, also after a restart\n");
    assert!(fs::read_to_string(bed.daemon.files().config())?.contains("[group.ipmp0.interface.eth2]"));
    Ok(())
}
