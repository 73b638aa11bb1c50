//! B27, as a property: whichever interfaces were missing at start, and in whichever order they come, the host ends as after
//! a start with all of them: addresses and routes of both families are the same, and in the same order.

use anyhow::{Context as _, Result, anyhow};
use ipmp_tests::{
    config::{Config, Member},
    daemon::{Daemon, bin_dir},
    netns::Netns,
    skip,
    snapshot::Snapshot,
    topology::{Lab, PREFIX4, PREFIX6, Shape, data, peer_link_local, peer4, test4},
    wait,
};
use proptest::{
    prelude::{Just, Strategy, any},
    test_runner::{Config as Limits, TestCaseError, TestRunner},
};

use crate::{Bed, FDT_MS};

const NICS: usize = 3;
/// A case takes some three seconds.
const CASES: u32 = 5;

/// What may differ between two hosts.
#[derive(Clone, Debug)]
struct Case {
    /// The NIC that waits for another to fail, if there is one; it is home to no address.
    standby: Option<usize>,
    /// With test addresses and targets, or by carrier alone.
    probed: bool,
    /// The order in which NICs come up; so many of them, the last, are missing at start. The kernel's own routes tell of the
    /// order, so a complete start has the same one.
    order: Vec<usize>,
    missing: usize,
    /// Each comes once the one before it works, or all at once.
    patient: bool,
}

fn cases() -> impl Strategy<Value = Case> {
    let order = Just((0..NICS).collect::<Vec<_>>()).prop_shuffle();
    (0..=NICS, any::<bool>(), order, 1..=NICS, any::<bool>()).prop_map(
        |(standby, probed, order, missing, patient)| Case {
            standby: (standby < NICS).then_some(standby),
            probed,
            order,
            missing,
            patient,
        },
    )
}

impl Case {
    fn missing(&self) -> &[usize] {
        &self.order[NICS - self.missing..]
    }

    fn config(&self) -> String {
        let member = |n: usize| Member {
            name: format!("eth{n}"),
            data: if self.standby == Some(n) {
                Vec::new()
            } else {
                vec![format!("{}/{PREFIX4}", data(n, false)), format!("{}/{PREFIX6}", data(n, true))]
            },
            test: vec![test4(n).to_string()],
            standby: self.standby == Some(n),
        };
        let mut config = Config::active_active(FDT_MS);
        config.members = (0..NICS).map(member).collect();
        let config = if self.probed { config } else { config.link_based() };
        format!("boot-wait = \"200ms\"\n{config}")
    }
}

/// Puts a NIC away, out of the host's sight. It loses its addresses and routes, and goes down.
fn put_away(lab: &Lab, shelf: &Netns, nic: usize) -> Result<()> {
    lab.host.ip(&format!("link set eth{nic} netns {}", shelf.name())).map(drop)
}

/// Gives it back, down as a new one.
fn give_back(lab: &Lab, shelf: &Netns, nic: usize) -> Result<()> {
    shelf.ip(&format!("link set eth{nic} netns {}", lab.host.name())).map(drop)
}

/// A host that has just booted, with these NICs up; the routes stand on the first one if it is never missing.
fn boot(lab: &Lab, shelf: &Netns, case: &Case, present: &[usize]) -> Result<()> {
    for nic in 0..NICS {
        put_away(lab, shelf, nic)?;
    }
    for nic in present {
        give_back(lab, shelf, *nic)?;
        lab.host.ip(&format!("link set eth{nic} up"))?;
    }
    if case.missing == NICS {
        return Ok(());
    }
    let nic = case.order[0];
    lab.host.batch(&format!(
        "route add default via {} dev eth{nic} onlink\nroute add default via {} dev eth{nic}",
        peer4(0),
        peer_link_local(0)
    ))
}

/// Addresses and routes once every address is at home and nothing changes any more.
fn settled(bed: &Bed) -> Result<Snapshot> {
    bed.daemon.wait_healthy()?;
    let (mut last, mut same) = (Snapshot::take(&bed.lab.host)?, 0);
    wait::until("addresses and routes at rest", || {
        let now = Snapshot::take(&bed.lab.host)?.of_others().without_order_of_links();
        same = if now == last { same + 1 } else { 0 };
        last = now;
        Ok(same >= 20 && !format!("{last:?}").contains("tentative"))
    })?;
    Ok(last)
}

fn start(lab: Lab, case: &Case) -> Result<Bed> {
    let daemon = Daemon::start_from(&lab.host, &case.config(), bin_dir()?)?;
    Ok(Bed { daemon, lab })
}

fn ends_the_same(case: &Case) -> Result<()> {
    let lab = Lab::new(&Shape { members: NICS, data_members: 0, ..Shape::default() })?;
    let shelf = Netns::new("shelf")?;
    boot(&lab, &shelf, case, &case.order)?;
    let bed = start(lab, case)?;
    let complete = settled(&bed)?;
    drop(bed.daemon);
    boot(&bed.lab, &shelf, case, &case.order[..NICS - case.missing])?;
    let bed = start(bed.lab, case)?;
    for nic in case.missing() {
        bed.wait_state(&format!("eth{nic}"), "absent")?;
    }
    for nic in case.missing() {
        give_back(&bed.lab, &shelf, *nic)?;
        if case.patient {
            bed.wait_state(&format!("eth{nic}"), "ok")?;
        }
    }
    bed.daemon.wait_healthy()?;
    let mut difference = String::new();
    let same = wait::until("the state of a complete start", || {
        difference =
            complete.difference(&Snapshot::take(&bed.lab.host)?.of_others().without_order_of_links());
        Ok(difference.is_empty())
    });
    same.with_context(|| format!("{difference}\n{}", bed.daemon.log_tail()))
}

#[test]
fn b27_a_later_appearance_ends_as_a_complete_start() -> Result<()> {
    if !skip::can_run() {
        return Ok(());
    }
    let limits = Limits { cases: CASES, failure_persistence: None, max_shrink_iters: 3, ..Limits::default() };
    TestRunner::new(limits)
        .run(&cases(), |case| ends_the_same(&case).map_err(|error| TestCaseError::fail(format!("{error:#}"))))
        .map_err(|error| anyhow!("{error}"))
}
