use super::*;

#[test]
fn the_clock_is_half_the_bogomips() {
    assert_eq!(tsc_khz("processor\t: 0\nbogomips\t: 5192.25\n"), Some(2_596_125));
    assert_eq!(tsc_khz("processor\t: 0\n"), None);
    assert_eq!(tsc_khz("bogomips\t: 0.00\n"), None);
}
