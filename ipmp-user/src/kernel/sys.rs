//! The few bpf(2) commands that aya does not offer in the form needed here: links by ifindex that are never
//! attached by other means (aya falls back to netlink, which would replace a foreign XDP program), and what
//! a pinned link is attached to.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

// enum bpf_cmd, include/uapi/linux/bpf.h
const BPF_OBJ_PIN: libc::c_long = 6;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_LINK_UPDATE: libc::c_long = 29;

/// Where a program is attached: `enum bpf_attach_type` and the flags of the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    XdpNative,
    XdpGeneric,
    TcxIngress,
    TcxEgress,
}

/// Every hook that an interface may have a link at.
pub(super) const HOOKS: [Hook; 4] = [Hook::XdpNative, Hook::TcxIngress, Hook::XdpGeneric, Hook::TcxEgress];

impl Hook {
    /// `enum bpf_attach_type`.
    const fn attach_type(self) -> u32 {
        match self {
            Self::XdpNative | Self::XdpGeneric => 37,
            Self::TcxIngress => 46,
            Self::TcxEgress => 47,
        }
    }

    /// `XDP_FLAGS_DRV_MODE`, `XDP_FLAGS_SKB_MODE`; `BPF_F_BEFORE` with no other program named: at the head of
    /// the chain, so that a foreign program's verdict does not hide frames from ours.
    const fn flags(self) -> u32 {
        match self {
            Self::XdpNative => 1 << 2,
            Self::XdpGeneric => 1 << 1,
            Self::TcxIngress | Self::TcxEgress => 1 << 3,
        }
    }

    /// `enum bpf_link_type`.
    const fn link_type(self) -> u32 {
        match self {
            Self::XdpNative | Self::XdpGeneric => 6,
            Self::TcxIngress | Self::TcxEgress => 11,
        }
    }

    /// The prefix of its pins.
    pub(super) const fn pin_prefix(self) -> &'static str {
        match self {
            Self::XdpNative => "ipmp_xdp_if",
            Self::XdpGeneric => "ipmp_xdpgen_if",
            Self::TcxIngress => "ipmp_ingress_if",
            Self::TcxEgress => "ipmp_egress_if",
        }
    }
}

/// `union bpf_attr`, as much of it as is used; the kernel takes missing fields as zero.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Attr([u32; 16]);

impl Attr {
    fn with(words: &[u32]) -> Self {
        let mut attr = Self::default();
        for (place, word) in attr.0.iter_mut().zip(words) {
            *place = *word;
        }
        attr
    }

    /// A pointer field at an even word.
    fn pointer(mut self, word: usize, address: u64) -> Self {
        if let Some(room) = self.0.get_mut(word..word + 2) {
            let bytes = address.to_ne_bytes();
            let (halves, _) = bytes.as_chunks();
            for (place, half) in room.iter_mut().zip(halves) {
                *place = u32::from_ne_bytes(*half);
            }
        }
        self
    }
}

/// # Safety
///
/// Pointers inside `attr` are valid for what `command` does with them.
unsafe fn bpf(command: libc::c_long, attr: &mut Attr) -> io::Result<i32> {
    // SAFETY: the attribute is as large as said; its contents are the caller's contract.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<Attr>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the kernel just returned this descriptor to us and to nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn word(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

/// Attaches `program` to interface `ifindex`; fails if something foreign is in the way (`EBUSY`, `EEXIST`).
pub(super) fn link_create(program: BorrowedFd<'_>, ifindex: u32, hook: Hook) -> io::Result<OwnedFd> {
    let mut attr = Attr::with(&[word(program), ifindex, hook.attach_type(), hook.flags()]);
    // SAFETY: no pointers.
    unsafe { bpf(BPF_LINK_CREATE, &mut attr) }.map(owned)
}

/// Lets `program` take the place of the link's program, without a gap.
pub(super) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = Attr::with(&[word(link), word(program)]);
    // SAFETY: no pointers.
    unsafe { bpf(BPF_LINK_UPDATE, &mut attr) }.map(drop)
}

/// Whether `link` is of the hook's kind and (still) attached to interface `ifindex`.
pub(super) fn link_is_on(link: BorrowedFd<'_>, ifindex: u32, hook: Hook) -> io::Result<bool> {
    // struct bpf_link_info: type, id, prog_id, padding, then ifindex (and attach type for tcx).
    let mut info = [0_u32; 32];
    let mut attr = Attr::with(&[word(link), size_of_val(&info) as u32]).pointer(2, info.as_mut_ptr() as u64);
    // SAFETY: `info` outlives the call and is as large as said.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info[0] == hook.link_type() && info[4] == ifindex)
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Pins a map, program or link.
pub(super) fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut attr = Attr::with(&[0, 0, word(object)]).pointer(0, path.as_ptr() as u64);
    // SAFETY: `path` outlives the call.
    unsafe { bpf(BPF_OBJ_PIN, &mut attr) }.map(drop)
}

/// Opens what is pinned at `path`.
pub(super) fn get(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut attr = Attr::default().pointer(0, path.as_ptr() as u64);
    // SAFETY: `path` outlives the call.
    unsafe { bpf(BPF_OBJ_GET, &mut attr) }.map(owned)
}
