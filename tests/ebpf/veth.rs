//! On a real veth pair to a neighbour whose kernel answers.

use std::{fs, net::IpAddr};

use ipmp_common::{
    abi::{map, program},
    wire::Mac,
};
use ipmp_user::kernel::{DepartureRung, Kernel, KernelOptions, ReplyRung};

use crate::{
    frames::{Pair, SESSION, V4, V6, request, session},
    world::{self, Neighbour, World, have, now_ns, sh, until},
};

/// `near` here, `far` there, with the addresses of [`V4`] and [`V6`].
pub(crate) struct Wire<'a> {
    neighbour: Neighbour<'a>,
    pub(crate) ifindex: u32,
    macs: (Mac, Mac),
}

fn mac(text: &str) -> Mac {
    let mut mac = [0; 6];
    for (byte, hex) in mac.iter_mut().zip(text.trim().split(':')) {
        *byte = u8::from_str_radix(hex, 16).expect("a hexadecimal byte");
    }
    mac
}

/// The output of `ip -o link show`, after its link/ether word.
fn hardware_address(name: &str) -> Mac {
    let shown = sh(&format!("ip -o link show {name}"));
    let at = shown.find("link/ether ").expect("an Ethernet device") + "link/ether ".len();
    mac(&shown[at..at + 17])
}

impl<'a> Wire<'a> {
    pub(crate) fn new(world: &'a World) -> Self {
        let neighbour = world.neighbour();
        sh(&format!("ip link add near type veth peer name far netns {}", neighbour.path()));
        let configure = |name: &str, v4: IpAddr, v6: IpAddr| {
            sh(&format!("ip link set {name} up"));
            sh(&format!("ip addr add {v4}/24 dev {name}"));
            sh(&format!("ip addr add {v6}/64 dev {name} nodad"));
            hardware_address(name)
        };
        let near = configure("near", V4.0, V6.0);
        let far = neighbour.inside(|| configure("far", V4.1, V6.1));
        let ifindex = nix::net::if_::if_nametoindex("near").expect("near");
        until("both ends are up", || sh("ip -o link show near").contains("LOWER_UP").then_some(()));
        Self { neighbour, ifindex, macs: (near, far) }
    }

    pub(crate) fn far<T>(&self, work: impl FnOnce() -> T) -> T {
        self.neighbour.inside(work)
    }

    /// Sends probe `seq` as the daemon does.
    fn send(&self, pair: Pair, seq: u64) {
        let frame = request(pair, seq, self.macs);
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        assert!(fd >= 0, "{}", std::io::Error::last_os_error());
        // SAFETY: a plain C structure, valid when zeroed.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_ifindex = self.ifindex as i32;
        to.sll_protocol = if pair == V4 { 0x0800_u16 } else { 0x86dd_u16 }.to_be();
        // SAFETY: frame and address outlive the call and are as long as said.
        let sent = unsafe {
            libc::sendto(
                fd,
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                size_of_val(&to) as libc::socklen_t,
            )
        };
        assert_eq!(sent, frame.len() as isize, "{}", std::io::Error::last_os_error());
        // SAFETY: our own descriptor, not used afterwards.
        unsafe { libc::close(fd) };
    }

    /// One round trip to the neighbour's kernel.
    pub(crate) fn round_trip(&self, kernel: &mut Kernel, pair: Pair) {
        kernel.arm(SESSION, session(pair, self.ifindex)).expect("armed");
        let before_ns = now_ns();
        self.send(pair, 1);
        kernel.note_sent(SESSION, 1, now_ns());
        let stamp = until("an answer", || {
            kernel.drain();
            kernel.stamp(SESSION, 1).filter(|stamp| stamp.received_ns != 0)
        });
        assert!(before_ns <= stamp.sent_ns, "{before_ns} {stamp:?}");
        assert!(stamp.received_ns > before_ns && stamp.received_ns <= now_ns(), "{stamp:?}");
        let totals = kernel.evidence(SESSION);
        assert_eq!((totals.sent, totals.replies), (1, 1));
        let by_kernel =
            kernel.rungs(self.ifindex).is_some_and(|rungs| rungs.departure != DepartureRung::UserSpace);
        assert!(!by_kernel || stamp.sent_ns < stamp.received_ns, "{stamp:?}");
    }
}

#[test]
fn a_neighbours_answer_is_stamped_by_native_xdp_after_its_departure_by_tc() {
    world::run(|world| {
        let wire = Wire::new(world);
        let mut kernel = world.kernel();
        let rungs = kernel.attach(wire.ifindex, "near");
        assert_eq!(rungs.reply, ReplyRung::XdpNative, "{:?}", rungs.reply_refused);
        assert!(rungs.departure != DepartureRung::UserSpace, "{:?}", rungs.departure_refused);
        wire.round_trip(&mut kernel, V4);
        wire.round_trip(&mut kernel, V6);
        kernel.release();
        assert!(!sh("ip -o link show near").contains("xdp"), "release leaves nothing behind");
        assert!(!world.pin(map::SESSION).exists());
    });
}

#[test]
fn a_foreign_xdp_program_is_never_replaced() {
    world::run(|world| {
        let wire = Wire::new(world);
        // Somebody else's program: ours, loaded from another pin directory.
        let mut foreign = Kernel::open(&KernelOptions::new(world.pin_dir().with_file_name("foreign")));
        assert_eq!(foreign.attach(wire.ifindex, "near").reply, ReplyRung::XdpNative);
        let before = sh("ip -o link show near");

        let mut kernel = world.kernel();
        let rungs = kernel.attach(wire.ifindex, "near");
        let no_tcx = rungs.reply_refused.iter().any(|refused| refused.reason.contains("no tcx links"));
        let best_left = if no_tcx { ReplyRung::Socket } else { ReplyRung::Tcx };
        assert_eq!(rungs.reply, best_left, "{:?}", rungs.reply_refused);
        assert!(
            rungs.reply_refused.iter().any(|refused| refused.reason.contains("never replaced")),
            "{:?}",
            rungs.reply_refused
        );
        assert_eq!(sh("ip -o link show near"), before, "its program still sits there");
        wire.round_trip(&mut kernel, V4);
        wire.round_trip(&mut kernel, V6);
        kernel.release();
        foreign.release();
    });
}

#[test]
fn a_restart_adopts_links_and_counters_without_detaching() {
    world::run(|world| {
        let wire = Wire::new(world);
        let mut first = world.kernel();
        first.attach(wire.ifindex, "near");
        wire.round_trip(&mut first, V4);
        let counted = first.counters(wire.ifindex).expect("attached");
        assert_eq!((counted.ours, counted.sent), (1, 1));
        drop(first);
        let link = world.pin(&format!("ipmp_xdp_if{}", wire.ifindex));
        assert!(link.exists());
        assert!(sh("ip -o link show near").contains("xdp"), "it stays attached without a daemon");
        let identity = link_id(&link);

        let mut second = world.kernel();
        let rungs = second.attach(wire.ifindex, "near");
        assert_eq!(rungs.reply, ReplyRung::XdpNative, "{:?}", rungs.reply_refused);
        assert_eq!(link_id(&link), identity, "the same link");
        assert!(second.counters(wire.ifindex).expect("attached").ours >= counted.ours);
        wire.round_trip(&mut second, V4);
        second.release();
    });
}

/// The kernel's number of a pinned link, by bpftool where there is one.
fn link_id(pin: &std::path::Path) -> Option<String> {
    have("bpftool").then(|| {
        let shown = sh(&format!("bpftool -j link show pinned {}", pin.display()));
        let value: serde_json::Value = serde_json::from_str(&shown).expect("JSON");
        value["id"].to_string()
    })
}

#[test]
fn a_stale_pin_is_replaced() {
    world::run(|world| {
        let wire = Wire::new(world);
        let mut first = world.kernel();
        first.attach(wire.ifindex, "near");
        drop(first);
        // The interface goes, and another comes under the same number.
        let (ifindex, path) = (wire.ifindex, wire.neighbour.path());
        sh("ip link del near");
        sh(&format!("ip link add near index {ifindex} type veth peer name far netns {path}"));
        let mut second = world.kernel();
        let rungs = second.attach(ifindex, "near");
        assert_eq!(rungs.reply, ReplyRung::XdpNative, "{:?}", rungs.reply_refused);
        assert!(sh("ip -o link show near").contains("xdp"));
        second.release();
    });
}

/// As after an upgrade: the program of before is no stranger's, to be worked around.
#[test]
fn pins_of_another_version_are_replaced() {
    world::run(|world| {
        let wire = Wire::new(world);
        let mut first = world.kernel();
        first.attach(wire.ifindex, "near");
        drop(first);
        let [own, other] = [ipmp_common::abi::ABI_VERSION, ipmp_common::abi::ABI_VERSION + 1]
            .map(|version| world.pin_dir().join(format!("v{version}")));
        fs::rename(&own, &other).expect("a renamed directory");
        let mut second = world.kernel();
        assert!(!other.exists());
        let rungs = second.attach(wire.ifindex, "near");
        assert_eq!(rungs.reply, ReplyRung::XdpNative, "{:?}", rungs.reply_refused);
        wire.round_trip(&mut second, V4);
        second.release();
    });
}

#[test]
fn a_second_daemon_cannot_take_the_pins_of_one_that_lives() {
    world::run(|world| {
        let wire = Wire::new(world);
        let mut first = world.kernel();
        first.attach(wire.ifindex, "near");
        assert_eq!(first.pins_taken(), None);
        let second = Kernel::open(&KernelOptions::new(world.pin_dir()));
        assert_eq!(second.pins_taken(), world.pin(map::SESSION).parent());
        drop(second);
        wire.round_trip(&mut first, V4);
        drop(first);
        let third = world.kernel();
        assert_eq!(third.pins_taken(), None, "it has ended");
        third.release();
    });
}

#[test]
fn what_an_earlier_run_left_on_other_interfaces_is_detached() {
    world::run(|world| {
        let wire = Wire::new(world);
        let mut first = world.kernel();
        first.attach(wire.ifindex, "near");
        drop(first);
        let link = world.pin(&format!("ipmp_xdp_if{}", wire.ifindex));
        let mut second = world.kernel();
        second.attach(wire.ifindex, "near");
        second.forget_others();
        assert!(link.exists(), "it is in use");
        drop(second);
        let third = world.kernel();
        third.forget_others();
        assert!(!link.exists());
        until("the program is detached", || (!sh("ip -o link show near").contains("xdp")).then_some(()));
        assert!(world.pin(map::SESSION).exists(), "maps stay");
        third.release();
    });
}

#[test]
fn without_bpf_a_packet_socket_gives_the_evidence() {
    world::run(|world| {
        let wire = Wire::new(world);
        let options = KernelOptions { bpf: false, ..KernelOptions::new(world.pin_dir()) };
        let mut kernel = Kernel::open(&options);
        let rungs = kernel.attach(wire.ifindex, "near");
        assert_eq!(rungs.reply, ReplyRung::Socket);
        assert_eq!(rungs.departure, DepartureRung::UserSpace);
        assert!(!rungs.reply_refused.is_empty() && !kernel.complaints().is_empty());
        assert_eq!(kernel.socket_fds().count(), 1);
        wire.round_trip(&mut kernel, V4);
        wire.round_trip(&mut kernel, V6);
        assert!(kernel.ring_fd().is_none() && kernel.next_event().is_none());
        kernel.release();
    });
}

#[test]
fn pinned_maps_show_their_field_names() {
    world::run(|world| {
        if !have("bpftool") {
            eprintln!("SKIPPED: pinned_maps_show_their_field_names: bpftool is missing");
            return;
        }
        let wire = Wire::new(world);
        let mut kernel = world.kernel();
        kernel.attach(wire.ifindex, "near");
        wire.round_trip(&mut kernel, V4);
        for (name, field) in
            [(map::SESSION, "late_after_ns"), (map::COUNTER, "foreign_id"), (map::CARRIER, "netns_cookie")]
        {
            let dump = sh(&format!("bpftool map dump pinned {}", world.pin(name).display()));
            assert!(dump.contains(field), "{name}: {dump}");
        }
        let key = SESSION.0.to_le_bytes().map(|byte| byte.to_string()).join(" ");
        let evidence = world.pin(map::EVIDENCE);
        let found = sh(&format!("bpftool map lookup pinned {} key {key}", evidence.display()));
        assert!(found.contains("received_ns"), "{found}");
        let pins = world.pin(program::XDP);
        let names = fs::read_dir(pins.parent().expect("the directory")).expect("readable");
        let names: Vec<_> = names.map(|entry| entry.expect("an entry").file_name()).collect();
        assert!(names.iter().all(|name| name.to_string_lossy().starts_with("ipmp_")), "{names:?}");
        let has = |name: &str| names.iter().any(|found| found == name);
        assert!(map::ALL.into_iter().chain([program::EGRESS]).all(has), "{names:?}");
        assert!(has(program::XDP) || has(program::XDP_LINEAR), "{names:?}");
        kernel.release();
    });
}
