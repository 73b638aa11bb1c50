use super::*;

#[test]
fn patience_that_ends_is_no_loss_of_notifications() {
    let mut watch = Watch::open(0).expect("netlink needs no privilege to listen");
    let mut news = News::default();
    let never = BTreeSet::from([(u32::MAX, IpAddr::from([0_u16; 8]))]);
    watch.wait_serving(never, Duration::from_millis(20), &mut news);
    assert!(!news.lost);
}

#[test]
fn a_link_without_carrier_is_another_one_where_nexthop_objects_are() {
    use crate::net::{fixtures::inventory, nexthop::Nexthop};
    let mut picture = inventory();
    let without = |picture: &mut Inventory| {
        let link = picture.links.get_mut(&2).expect("eth0");
        link.flags = LinkFlags::Up;
    };
    let mut plain = picture.clone();
    let before = identity(&plain, 2);
    without(&mut plain);
    assert_eq!(identity(&plain, 2), before, "routes without objects stay");

    // struct nhmsg, NHA_ID 10, NHA_OIF 2
    let payload = [2, 0, 4, 0, 0, 0, 0, 0, 8, 0, 1, 0, 10, 0, 0, 0, 8, 0, 5, 0, 2, 0, 0, 0];
    picture.nexthops.insert(10, Nexthop::from_bytes(&payload).expect("an object"));
    let before = identity(&picture, 2);
    without(&mut picture);
    assert_ne!(identity(&picture, 2), before);
}
