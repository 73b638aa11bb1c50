//! Routes by nexthop objects, with the whole daemon and a real cable.

use anyhow::Result;
use ipmp_tests::{
    config::Config,
    daemon::Daemon,
    skip,
    topology::{Lab, Shape, peer4, peer6},
    wait,
};

use crate::{Bed, FDT_MS};

/// The kernel may delete objects by a link without carrier before or after the daemon has moved them.
#[test]
fn routes_by_nexthop_objects_survive_a_pulled_cable() -> Result<()> {
    if !skip::can_run() {
        return Ok(());
    }
    let lab = Lab::new(&Shape { data_members: 2, ..Shape::default() })?;
    lab.host.batch(&format!(
        "nexthop add id 10 via {} dev eth0\nnexthop add id 11 via {} dev eth0\n\
         route add 203.0.113.0/24 nhid 10\nroute add 2001:db8:ff::/48 nhid 11",
        peer4(0),
        peer6(0)
    ))?;
    let daemon = Daemon::start(&lab.host, &Config::active_active(FDT_MS))?;
    let bed = Bed { daemon, lab };
    bed.daemon.wait_healthy()?;
    let leave_by = |nic: &str| {
        wait::until(&format!("both leave by {nic}"), || {
            let by = |to: &str| {
                let got = bed.lab.host.ip(&format!("route get {to}"));
                got.is_ok_and(|text| text.contains(&format!("dev {nic} ")))
            };
            Ok(by("203.0.113.1") && by("2001:db8:ff::1"))
        })
    };
    leave_by("eth0")?;
    for _ in 0..3 {
        bed.lab.pull(0)?;
        leave_by("eth1")?;
        bed.lab.plug(0)?;
        bed.daemon.wait_healthy()?;
        leave_by("eth0")?;
    }
    bed.lab.cut(0)?;
    leave_by("eth1")?;
    bed.lab.mend(0)?;
    bed.daemon.wait_healthy()?;
    leave_by("eth0")
}
