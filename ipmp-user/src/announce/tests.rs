use super::*;

const MAC: Mac = [2, 0, 0, 0, 0, 7];

fn frame(ip: &str, is_router: bool) -> Vec<u8> {
    let announcement = Announcement { ifindex: 2, mac: MAC, ip: ip.parse().expect("an address") };
    Ready::new(&announcement, || is_router).bytes().to_vec()
}

#[test]
fn each_family_has_its_announcement() {
    let arp = frame("10.0.0.10", false);
    assert_eq!(arp[..14], [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 7, 8, 6]);
    assert_eq!(arp[28..32], arp[38..42], "sender and target are the announced address");
    let advertisement = frame("2001:db8::10", false);
    assert_eq!((advertisement.len(), advertisement[54]), (86, 136));
}

#[test]
fn advertisement_of_a_router_says_so() {
    assert_eq!(frame("2001:db8::10", false)[58], 0x20);
    assert_eq!(frame("2001:db8::10", true)[58], 0xa0);
}
