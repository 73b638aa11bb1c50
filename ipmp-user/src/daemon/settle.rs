//! Programs are attached before the daemon takes responsibility for an interface, one interface after the other: some
//! drivers reset their rings for that (igb, ixgbe, mlx5 and more), and the carrier is gone for as long as the link takes to
//! be negotiated anew. That is no failure, and nothing is to be moved because of it.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Daemon, members::link_up};
use crate::net::{inventory::Inventory, monitor::Monitor};

/// Autonegotiation at 1000BASE-T takes up to four seconds (IEEE 802.3, clause 28 and 40); a cable that was pulled at this
/// very moment must not keep the daemon from its work for longer.
pub(super) const LIMIT: Duration = Duration::from_secs(8);
/// Between two looks.
const TICK: Duration = Duration::from_millis(20);

impl Daemon {
    /// Attaches the programs to the members that are there. If that took a carrier away, everything read of the kernel
    /// before is forgotten: it tells of losses that are none.
    ///
    /// # Errors
    /// When the kernel's tables cannot be read anew.
    pub(super) fn attach_and_settle(&mut self) -> anyhow::Result<()> {
        let members: Vec<(u32, String)> = self
            .members
            .iter()
            .filter(|member| !member.ungrouped)
            .filter_map(|member| self.inventory.link_by_name(&member.config.name))
            .filter(|link| self.inventory.swallower(link).is_none() && self.admin.may_take(link))
            .map(|link| (link.ifindex, link.name.clone()))
            .collect();
        let mut disturbed = Vec::new();
        for (ifindex, name) in members {
            let before = self.kernel.link_up(&name);
            self.kernel.attach(ifindex, &name);
            if before != Some(true) || self.kernel.link_up(&name) != Some(false) {
                continue;
            }
            let since = Instant::now();
            while self.kernel.link_up(&name) == Some(false) && since.elapsed() < LIMIT {
                thread::sleep(TICK);
            }
            let took_ms = since.elapsed().as_millis() as u64;
            if since.elapsed() < LIMIT {
                tracing::info!(interface = name, took_ms, "attaching XDP took its carrier away for a while");
            } else {
                tracing::warn!(
                    interface = name,
                    took_ms,
                    "no carrier since XDP was attached: taken for lost"
                );
            }
            disturbed.push(ifindex);
        }
        if !disturbed.is_empty() {
            (self.monitor, self.inventory) = read_anew(&disturbed)?;
            while self.kernel.next_event().is_some() {}
        }
        Ok(())
    }
}

/// The kernel's tables once they show these links up again: linkwatch lets up to a second pass between the carrier and the
/// operational state (`net/core/link_watch.c`), and frames do not leave before.
fn read_anew(disturbed: &[u32]) -> anyhow::Result<(Monitor, Inventory)> {
    let since = Instant::now();
    let (mut monitor, mut inventory) = Monitor::open()?;
    let is_down = |inventory: &Inventory, ifindex: &u32| {
        inventory.link(*ifindex).is_some_and(|link| link_up(link) == Some(false))
    };
    while since.elapsed() < LIMIT && disturbed.iter().any(|ifindex| is_down(&inventory, ifindex)) {
        thread::sleep(TICK);
        monitor.drain(&mut inventory)?;
    }
    Ok((monitor, inventory))
}
