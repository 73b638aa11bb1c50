//! What cannot be pinned, or cannot have been ours: the programs are attached all the same, and it is said.

use std::{fs, path::Path};

use aya::maps::{Map, MapData};
use ipmp_common::abi::{map, program};
use ipmp_user::kernel::{Kernel, KernelOptions, ReplyRung};
use nix::mount::{MsFlags, mount};

use crate::{
    frames::V4,
    veth::Wire,
    world::{self, World, sh},
};

/// A BPF file system for the pins, as an administrator may have mounted it.
fn mounted(world: &World) {
    fs::create_dir(world.pin_dir()).expect("a directory");
    mount(Some("bpf"), &world.pin_dir(), Some("bpf"), MsFlags::empty(), None::<&str>).expect("bpffs");
}

fn read_only(world: &World, yes: bool) {
    let flags = if yes { MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY } else { MsFlags::MS_REMOUNT };
    mount(None::<&str>, &world.pin_dir(), None::<&str>, flags, None::<&str>).expect("remounted");
}

fn open(world: &World) -> Kernel {
    world::open(&KernelOptions::new(world.pin_dir()))
}

/// It has complained of one thing, in these words, and probes by the best rung nevertheless.
fn works(wire: &Wire<'_>, mut kernel: Kernel, complaint: &str) -> Kernel {
    let complaints = kernel.complaints().join("; ");
    assert!(kernel.complaints().len() == 1 && complaints.contains(complaint), "{complaints}");
    assert!(complaints.starts_with("nothing is pinned: "), "{complaints}");
    let rungs = kernel.attach(wire.ifindex, "near");
    assert_eq!(rungs.reply, ReplyRung::XdpNative, "{:?}", rungs.reply_refused);
    wire.round_trip(&mut kernel, V4);
    kernel
}

#[test]
fn a_read_only_bpffs_costs_the_pins_only() {
    world::run(|world| {
        let wire = Wire::new(world);
        mounted(world);
        for with_directory in [false, true] {
            if with_directory {
                fs::create_dir(world.pin(map::SESSION).parent().expect("a parent")).expect("a directory");
            }
            read_only(world, true);
            let kernel = works(&wire, open(world), "Read-only file system");
            kernel.release();
            assert!(!sh("ip -o link show near").contains("xdp"), "gone with the daemon");
            read_only(world, false);
        }
        // As soon as it may be written to, it is.
        let mut kernel = world.kernel();
        kernel.attach(wire.ifindex, "near");
        assert!(world.pin(map::SESSION).exists());
        kernel.release();
    });
}

/// The kernel hands out nothing that is pinned on a read-only file system. The program of before is one of others then, and
/// stays where it is.
#[test]
fn pins_that_became_read_only_are_left_and_worked_around() {
    world::run(|world| {
        let wire = Wire::new(world);
        mounted(world);
        let mut first = world.kernel();
        first.attach(wire.ifindex, "near");
        drop(first);
        read_only(world, true);
        let mut second = open(world);
        let complaints = second.complaints().join("; ");
        assert!(complaints.starts_with("nothing is pinned: "), "{complaints}");
        assert!(complaints.contains("ipmp_session: Read-only file system"), "{complaints}");
        let rungs = second.attach(wire.ifindex, "near");
        assert!(rungs.reply == ReplyRung::Tcx || rungs.reply == ReplyRung::Socket, "{:?}", rungs.reply);
        wire.round_trip(&mut second, V4);
        drop(second);
        read_only(world, false);
        let mut third = world.kernel();
        assert_eq!(third.attach(wire.ifindex, "near").reply, ReplyRung::XdpNative);
        wire.round_trip(&mut third, V4);
        third.release();
        assert!(!sh("ip -o link show near").contains("xdp"));
    });
}

/// Pins another object in place of one of ours.
fn pin_instead(path: &Path, make: impl FnOnce(&Path)) {
    fs::remove_file(path).expect("the pin of before");
    make(path);
    assert!(path.exists());
}

#[test]
fn what_is_no_map_of_ours_is_replaced_and_not_used() {
    world::run(|world| {
        let wire = Wire::new(world);
        let mut first = world.kernel();
        first.attach(wire.ifindex, "near");
        drop(first);
        let carriers = world.pin(map::CARRIER);
        let others: [&dyn Fn(&Path); 2] = [
            // A program that every kernel is given.
            &|path| fs::hard_link(world.pin(program::EGRESS), path).expect("a link"),
            // A map of another size.
            &|path| {
                let map = MapData::from_pin(&carriers).expect("a map");
                Map::HashMap(map).pin(path).expect("pinned");
            },
        ];
        for name in [map::SESSION, map::EVIDENCE, map::EVENTS, map::COUNTER] {
            for other in others {
                pin_instead(&world.pin(name), other);
                let mut kernel = open(world);
                let rungs = kernel.attach(wire.ifindex, "near");
                assert_eq!(rungs.reply, ReplyRung::XdpNative, "{name}: {:?}", rungs.reply_refused);
                wire.round_trip(&mut kernel, V4);
                drop(kernel);
                // The next one finds pins to go on with.
                let mut next = world.kernel();
                next.attach(wire.ifindex, "near");
                wire.round_trip(&mut next, V4);
                drop(next);
            }
        }
        world.kernel().release();
    });
}
