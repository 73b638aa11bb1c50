//! What the running kernel can do for ipmp, found by trying, one line each: `capability: NAME: yes|no: WHY`,
//! and `capability: NAME: is: WHAT` for what it chooses among several.
//!
//! `cargo xtask vm --matrix` runs this under every pinned kernel and makes a table of it. Everything happens in a network
//! namespace of its own, which is removed at the end. Needs root.

mod programs;
mod stack;

use anyhow::{Result, ensure};
use ipmp_tests::{netns::Netns, skip};

/// Two devices of each kind: the kernel room takes the first, iproute2 tries things on the second.
const DEVICES: &str = "\
link add v0 type veth peer name v1
link add v2 type veth peer name v3
link add d0 type dummy
link set v0 up
link set v1 up
link set v2 up
link set v3 up
link set d0 up
address add 192.0.2.1/24 dev v2
";

/// Whether something works, and if not, why.
type Finding = Result<(), String>;

fn main() -> Result<()> {
    if let Some(missing) = skip::missing() {
        anyhow::bail!("{missing}");
    }
    let netns = Netns::new("capabilities")?;
    // Not every kernel has dummy devices; what needs one says so.
    for line in DEVICES.lines() {
        if let Err(error) = netns.ip(line) {
            ensure!(line.contains("d0"), "{error:#}");
        }
    }
    let (mut findings, chosen) = programs::try_all(&netns)?;
    for (name, what) in chosen {
        println!("capability: {name}: is: {what}");
    }
    findings.extend(stack::try_all(&netns));
    for (name, finding) in findings {
        match finding {
            Ok(()) => println!("capability: {name}: yes"),
            Err(why) => println!("capability: {name}: no: {}", one_line(&why)),
        }
    }
    Ok(())
}

/// Runs a program inside; a complaint is its last line.
fn tried(netns: &Netns, program: &str, arguments: &str) -> Result<String, String> {
    let mut command = netns.command(program).map_err(|error| format!("{error:#}"))?;
    let output = command.args(arguments.split_ascii_whitespace()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let last = complaint.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("failed and said nothing");
    Err(format!("`{program} {arguments}`: {last}"))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
