use super::*;

/// As Linux 6.12 words it.
const LOG: &str = "\
func#0 @0
0: R1=ctx() R10=fp0
0: (61) r2 = *(u32 *)(r1 +4)
1: (71) r0 = *(u8 *)(r2 +0)
R2 invalid mem access 'scalar'
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
";

fn refused(name: &str, errno: i32, log: &str) -> Option<String> {
    of_load(name, &io::Error::from_raw_os_error(errno), log)
}

#[test]
fn the_verifiers_objection_is_told_and_not_its_statistics() {
    let told = refused(program::EGRESS, libc::EACCES, LOG);
    assert!(told.is_some_and(|told| told.ends_with("verifier: R2 invalid mem access 'scalar'")));
}

#[test]
fn the_end_of_a_long_log_is_shown() {
    let long = "x\n".repeat(10_000) + LOG;
    let shown = end(&long);
    assert_eq!(shown.lines().count(), LOG_LINES);
    assert!(shown.contains("invalid mem access") && shown.ends_with("mark_read 0"), "{shown}");
    assert_eq!(end(LOG).lines().count(), LOG.lines().count());
}

#[test]
fn a_kernel_without_multi_buffer_xdp_is_named_as_such() {
    assert!(refused(program::XDP, libc::EINVAL, "").is_some_and(|told| told.contains("5.18")));
    assert_eq!(refused(program::XDP_LINEAR, libc::EINVAL, ""), None);
    assert_eq!(refused(program::XDP, libc::EPERM, ""), None);
}
