use super::*;
use crate::net::fixtures::{FOSTER, HOME, ip, route, texts, wanted};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn known(entries: &[(u32, &str, NeighbourState)]) -> Neighbours {
    let neighbour = |state| Neighbour { mac: Some(MAC), state, router: false, kept: false, ours: false };
    entries.iter().map(|(ifindex, text, state)| ((*ifindex, ip(text)), neighbour(*state))).collect()
}

/// What moves from ifindex 2 to 3 with 10.0.0.10/24 and a default route.
fn planned(known: &Neighbours) -> (Vec<String>, Vec<String>) {
    let wanted = wanted(&["10.0.0.10/24"], FOSTER);
    let routes = [Op::AddRoute(route("0.0.0.0/0", 3, Some("192.0.2.1")))];
    let moved = [(Some(2), 3, "10.0.0.10/24".parse().expect("an address"))];
    let moving = Moving { wanted: &wanted, known, moved: &moved, routes: &routes };
    (texts(&moving.copies()), texts(&moving.deletions()))
}

#[test]
fn gateway_comes_first_and_only_what_the_traffic_needs() {
    let known = known(&[
        (2, "10.0.0.1", NeighbourState::Stale),
        (2, "10.0.0.2", NeighbourState::Failed),
        (2, "172.16.0.1", NeighbourState::Reachable),
        (2, "192.0.2.1", NeighbourState::Reachable),
    ]);
    let (copies, deletions) = planned(&known);
    assert_eq!(copies, ["add neighbour 192.0.2.1 on ifindex 3", "add neighbour 10.0.0.1 on ifindex 3"]);
    let expected = ["delete neighbour 10.0.0.1 on ifindex 2", "delete neighbour 10.0.0.2 on ifindex 2"];
    assert_eq!(deletions, expected);
}

#[test]
fn entry_being_resolved_is_replaced_and_a_good_one_is_not() {
    let known = known(&[
        (2, "10.0.0.1", NeighbourState::Delay),
        (2, "10.0.0.2", NeighbourState::Probe),
        (3, "10.0.0.1", NeighbourState::Incomplete),
        (3, "10.0.0.2", NeighbourState::Stale),
    ]);
    assert_eq!(planned(&known).0, ["add neighbour 10.0.0.1 on ifindex 3"]);
}

#[test]
fn what_somebody_set_or_keeps_up_is_not_deleted() {
    let mut known = known(&[
        (2, "10.0.0.1", NeighbourState::Permanent),
        (2, "10.0.0.2", NeighbourState::Reachable),
        (3, "10.0.0.3", NeighbourState::Reachable),
    ]);
    for neighbour in known.values_mut() {
        neighbour.kept = true;
    }
    assert_eq!(planned(&known).1, Vec::<String>::new());
}

#[test]
fn one_move_copies_a_bounded_number() {
    let many: Neighbours = (0..1000_u32)
        .map(|n| {
            let ip = IpAddr::from([10, 0, (n / 250) as u8, (n % 250 + 1) as u8]);
            (
                (2, ip),
                Neighbour {
                    mac: Some(MAC),
                    state: NeighbourState::Stale,
                    router: false,
                    kept: false,
                    ours: false,
                },
            )
        })
        .collect();
    let mut wanted = wanted(&["10.0.0.10/16"], FOSTER);
    wanted.unusable = vec![HOME];
    let moved = [(Some(2), 3, "10.0.0.10/16".parse().expect("an address"))];
    let moving = Moving { wanted: &wanted, known: &many, moved: &moved, routes: &[] };
    assert_eq!((moving.copies().len(), moving.deletions().len()), (NEIGHBOURS_MAX, NEIGHBOURS_MAX));
}
