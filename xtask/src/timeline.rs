//! One scene as text: what the daemon's events say, and what the neighbour saw.

use std::{fmt, time::Duration};

use serde_json::Value;

use crate::stage::{Act, FDT, HOME, OTHER, Scene};

/// Shows a scene.
pub(crate) struct Text<'a>(pub(crate) &'a Scene);

/// A duration in milliseconds with the precision that is worth reading.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

/// How far a moment lies behind another; before it if negative.
fn offset(moment_ns: u64, from_ns: u64) -> String {
    format!("{:+10.2} ms", (moment_ns as f64 - from_ns as f64) / 1e6)
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scene = self.0;
        writeln!(f, "{}", title(scene.act))?;
        let line = |f: &mut fmt::Formatter<'_>, at: Option<u64>, what: &str, text: &str| match at {
            Some(at) => writeln!(f, "   {}  {what:<10} {text}", offset(at, scene.at_ns)),
            None => Ok(()),
        };
        line(f, Some(scene.at_ns), "act", done(scene.act))?;
        let verdict = &scene.verdict;
        line(f, verdict["evidence_ns"].as_u64(), "evidence", evidence(verdict))?;
        let decided = verdict["decided_ns"].as_u64();
        let word = if scene.act.breaks() { "failed" } else { "repaired" };
        let reason = verdict["reason"].as_str().unwrap_or("?");
        let share = match (scene.act, decided) {
            (Act::Cut, Some(decided)) => format!(" [{}]", share_of_fdt(decided.saturating_sub(scene.at_ns))),
            _ => String::new(),
        };
        line(f, decided, "decided", &format!("{HOME} {word}: {reason}{share}"))?;
        let (from, to) = if scene.act.breaks() {
            (HOME, OTHER)
        } else {
            (OTHER, HOME)
        };
        let addresses: Vec<&str> = scene
            .moves
            .iter()
            .filter_map(|event| event["address"].as_str())
            .collect();
        let text = format!("{from} → {to}: {}", addresses.join(", "));
        line(f, scene.moved_ns("applied_ns").ok(), "applied", &text)?;
        line(
            f,
            scene.moved_ns("announced_ns").ok(),
            "announced",
            "to all neighbours (gratuitous ARP, unsolicited NA)",
        )?;
        for (family, seen) in ["IPv4", "IPv6"].iter().zip(&scene.pings) {
            let gap = milliseconds(seen.longest_gap);
            writeln!(
                f,
                "   the neighbour  {family} ping: {} lost of {}, longest gap {gap}",
                seen.lost, seen.sent
            )?;
        }
        let pause = milliseconds(scene.tcp.longest_gap);
        write!(
            f,
            "   the neighbour  TCP: {} messages answered, longest pause {pause}",
            scene.tcp.messages
        )
    }
}

/// A time after the cut as a share of the failure detection time.
fn share_of_fdt(after_ns: u64) -> String {
    let share = Duration::from_nanos(after_ns).as_secs_f64() / FDT.as_secs_f64();
    format!("{:.0} % of the failure detection time", share * 100.0)
}

fn title(act: Act) -> &'static str {
    match act {
        Act::Pull => "A cable is pulled",
        Act::Plug => "The cable is plugged in again",
        Act::Cut => "A path is cut, the carrier stays",
        Act::Mend => "The path is mended",
    }
}

fn done(act: Act) -> &'static str {
    match act {
        Act::Pull => "the switch's port p0 goes down",
        Act::Plug => "the switch's port p0 comes up",
        Act::Cut => "the switch stops forwarding at port p0",
        Act::Mend => "the switch forwards at port p0 again",
    }
}

fn evidence(verdict: &Value) -> &'static str {
    match verdict["why"]["why"].as_str() {
        Some("link-down" | "link-up" | "link-restored") => "the carrier changed",
        _ => "the newest good reply to a probe (kernel time)",
    }
}

#[cfg(test)]
mod tests;
