//! `ipmp plan`: what failure detection time may be used on a path of known loss? Needs no daemon.

use std::fmt::Write as _;

use ipmp_common::engine::{
    detector::SLOTS_PER_FDT,
    forecast::{Forecast, Path, Times, forecast, in_force, smallest_fdt},
    time::Nanos,
};
use serde::Serialize;

use super::{
    args::PlanArgs,
    exit::Failure,
    output::{Table, print, print_json},
};

const DAYS_PER_YEAR: f64 = 365.25;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Plan {
    version: u32,
    fdt_ns: u64,
    /// What it would be raised to at least, if answers take longer than a probe slot; else the same. What follows is
    /// reckoned with this one.
    fdt_in_force_ns: u64,
    loss: f64,
    burst_ns: u64,
    rtt_ns: u64,
    members: u32,
    /// Answers take longer than a probe slot: every probe would be overdue at first.
    answers_too_late: bool,
    suspicion: Outlook,
    no_suspicion: Outlook,
}

/// What to expect, with or without suspicion.
#[derive(Debug, Serialize)]
struct Outlook {
    /// Over all members.
    false_failures_per_day: f64,
    detection_typical_ns: u64,
    detection_worst_ns: u64,
    repair_typical_ns: u64,
    repair_worst_ns: u64,
    /// Smallest failure detection time with less than one false failure a year over all members; `null` if an
    /// hour is not enough.
    smallest_fdt_ns: Option<u64>,
}

/// Prints the plan.
pub(super) fn run(args: &PlanArgs, json: bool) -> Result<u8, Failure> {
    let plan = plan(args);
    if json {
        print_json(&plan)?
    } else {
        print(&text(&plan))?
    };
    Ok(0)
}

/// Foretells.
pub(super) fn plan(args: &PlanArgs) -> Plan {
    let path = Path { loss: args.loss, burst: args.burst, rtt: args.rtt };
    let members = f64::from(args.members);
    let fdt = in_force(args.fdt, args.rtt);
    let outlook = |suspicion| {
        let Forecast { false_failures, detection, repair } = forecast(fdt, path, suspicion);
        let Times { typical, worst } = detection;
        let per_day = 1.0 / DAYS_PER_YEAR / members;
        Outlook {
            false_failures_per_day: false_failures * members,
            detection_typical_ns: typical.0,
            detection_worst_ns: worst.0,
            repair_typical_ns: repair.typical.0,
            repair_worst_ns: repair.worst.0,
            smallest_fdt_ns: smallest_fdt(path, suspicion, per_day).map(|fdt| fdt.0),
        }
    };
    Plan {
        version: 1,
        fdt_ns: args.fdt.0,
        fdt_in_force_ns: fdt.0,
        loss: args.loss,
        burst_ns: args.burst.0,
        rtt_ns: args.rtt.0,
        members: args.members,
        answers_too_late: args.rtt > args.fdt.divided(SLOTS_PER_FDT),
        suspicion: outlook(true),
        no_suspicion: outlook(false),
    }
}

/// The plan in words.
pub(super) fn text(plan: &Plan) -> String {
    let percent = plan.loss * 100.0;
    let mut text = format!(
        "failure detection time {}, {} interfaces, {percent} % loss in bursts of {}, round trip {}\n",
        Nanos(plan.fdt_ns),
        plan.members,
        Nanos(plan.burst_ns),
        Nanos(plan.rtt_ns),
    );
    let mut table =
        Table::new(&["SUSPICION", "FALSE FAILURES", "DETECTION", "WORST", "REPAIR", "WORST", "SMALLEST FDT"]);
    for (name, outlook) in [("on", &plan.suspicion), ("off", &plan.no_suspicion)] {
        table.row([
            name.to_owned(),
            rate(outlook.false_failures_per_day),
            Nanos(outlook.detection_typical_ns).to_string(),
            Nanos(outlook.detection_worst_ns).to_string(),
            Nanos(outlook.repair_typical_ns).to_string(),
            Nanos(outlook.repair_worst_ns).to_string(),
            outlook.smallest_fdt_ns.map_or_else(|| "none".to_owned(), |fdt| Nanos(fdt).to_string()),
        ]);
    }
    text.push_str(&table.text(2));
    text.push_str("smallest FDT: less than one false failure a year, all interfaces together\n");
    if plan.answers_too_late {
        let (raised, fdt) = (Nanos(plan.fdt_in_force_ns), Nanos(plan.rtt_ns).times(SLOTS_PER_FDT));
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "warning: answers come later than the next probe: ipmpd would raise the detection time to {raised} or more, \
             which the table is about; take at least {fdt}"
        );
    }
    text
}

/// A rate in the unit in which a person can imagine it.
fn rate(per_day: f64) -> String {
    let per_year = per_day * DAYS_PER_YEAR;
    if per_day >= 1.0 {
        format!("{per_day:.1} a day")
    } else if per_year >= 1.0 {
        format!("{per_year:.1} a year")
    } else if per_year >= 0.001 {
        format!("one in {:.0} years", 1.0 / per_year)
    } else {
        "none in 1000 years".to_owned()
    }
}
