//! QEMU's monitor, which a virtual machine of `cargo xtask vm --nic` has as a device of its own: with it the guest pulls
//! its own cables (QEMU Machine Protocol, docs/interop/qmp-spec.rst of QEMU).

use std::{
    fs::{File, OpenOptions},
    io::{BufRead as _, BufReader, Write as _},
    os::fd::AsFd as _,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use ipmp_tests::wait::now_ns;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

const DEVICE: &str = "/dev/qmp";
/// For one answer; it comes within milliseconds.
const ANSWER: Duration = Duration::from_secs(20);

pub(crate) struct Monitor {
    input: BufReader<File>,
    output: File,
}

impl Monitor {
    /// `None` where there is no such machine.
    pub(crate) fn open() -> Result<Option<Self>> {
        if !Path::new(DEVICE).exists() {
            return Ok(None);
        }
        let output = OpenOptions::new().read(true).write(true).open(DEVICE).context(DEVICE)?;
        let input = BufReader::new(output.try_clone().context(DEVICE)?);
        let mut monitor = Self { input, output };
        monitor.request(&json!({ "execute": "qmp_capabilities" }))?;
        Ok(Some(monitor))
    }

    /// Pulls (`up` = false) or plugs in the cable of a NIC by QEMU's name for it. Returns the moment just before.
    pub(crate) fn set_link(&mut self, nic: &str, up: bool) -> Result<u64> {
        let at_ns = now_ns();
        let arguments = json!({ "name": nic, "up": up });
        let answer = self.request(&json!({ "execute": "set_link", "arguments": arguments }))?;
        ensure!(answer.get("error").is_none(), "set_link {nic}: {answer}");
        Ok(at_ns)
    }

    /// Sends a request and reads up to its answer, past greeting and events.
    fn request(&mut self, request: &Value) -> Result<Value> {
        self.output.write_all(format!("{request}\n").as_bytes()).context(DEVICE)?;
        loop {
            if self.input.buffer().is_empty() {
                let mut waiting = [PollFd::new(self.output.as_fd(), PollFlags::POLLIN)];
                let ready = poll(&mut waiting, PollTimeout::try_from(ANSWER)?).context(DEVICE)?;
                ensure!(ready > 0, "{DEVICE}: no answer within {ANSWER:?}");
            }
            let mut line = String::new();
            if self.input.read_line(&mut line).context(DEVICE)? == 0 {
                bail!("{DEVICE}: closed");
            }
            let answer: Value = serde_json::from_str(&line).with_context(|| format!("{DEVICE}: {line}"))?;
            // The mode is entered already if the guest's set-link was used before: an error that is none.
            if answer.get("return").is_some() || answer.get("error").is_some() {
                return Ok(answer);
            }
        }
    }
}
