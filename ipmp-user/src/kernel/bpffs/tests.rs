use super::*;

const MOUNTED: &str = "\
24 1 0:22 / /sys rw,nosuid - sysfs sysfs rw
30 24 0:27 / /sys/fs/bpf rw,nosuid shared:9 - bpf bpf rw,mode=700
41 1 0:33 / /run/ipmp/bpf rw - bpf bpf rw,mode=700
42 41 0:34 / /run/ipmp/bpf rw,nosuid - bpf ipmp rw,mode=700
43 1 0:35 / /my\\040pins rw - bpf ipmp rw,mode=700
";

#[test]
fn a_mount_of_ours_is_told_from_others() {
    let source = |place: &str| source_of_mount(MOUNTED, Path::new(place));
    assert_eq!(source("/sys/fs/bpf"), Some("bpf"));
    assert_eq!(source("/run/ipmp/bpf"), Some(SOURCE), "the topmost");
    assert_eq!(source("/my pins"), Some(SOURCE));
    assert_eq!(source("/sys/fs/bpf/ipmp"), None, "not mounted upon");
}
