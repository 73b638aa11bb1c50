//! The kernel's RTNL lock, kept by somebody for as long as a test wants. There is one for the whole machine: not for long.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr::{self, NonNull},
    thread::{self, JoinHandle},
};

use nix::unistd::read;

const PAGE: usize = 4096;
// linux/userfaultfd.h, of which the libc crate has nothing.
const UFFD_API: u64 = 0xaa;
const UFFDIO_API: libc::c_ulong = 0xc018_aa3f;
const UFFDIO_REGISTER: libc::c_ulong = 0xc020_aa00;
const UFFDIO_ZEROPAGE: libc::c_ulong = 0xc020_aa04;
const UFFDIO_REGISTER_MODE_MISSING: u64 = 1;
/// `struct uffd_msg`.
const MESSAGE: usize = 32;
// linux/ethtool.h, linux/sockios.h
const ETHTOOL_GLINK: u32 = 0x0a;
const SIOCETHTOOL: libc::c_ulong = 0x8946;

/// Kept until this is dropped: the kernel writes the answer to `ETHTOOL_GLINK` under the lock (`ethtool_get_link` in
/// net/ethtool/ioctl.c), and waits for us to give it the page to write it to (userfaultfd(2)).
pub(crate) struct Held {
    faults: OwnedFd,
    pages: Pages,
    asker: Option<JoinHandle<()>>,
}

/// Two of them. The first ends with the question, the second, which is not there yet, begins with the place for the answer.
struct Pages(NonNull<u8>);

impl Pages {
    fn new() -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let base = unsafe { libc::mmap(ptr::null_mut(), 2 * PAGE, access, kind, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(base.cast()).map(Self).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    fn second(&self) -> u64 {
        self.0.as_ptr() as u64 + PAGE as u64
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: this very mapping; the thread that used it has ended.
        unsafe { libc::munmap(self.0.as_ptr().cast(), 2 * PAGE) };
    }
}

/// ioctl(2) with a structure that the kernel may change.
fn ioctl<const N: usize>(fd: &OwnedFd, code: libc::c_ulong, mut argument: [u64; N]) -> io::Result<()> {
    // SAFETY: the argument is as large as the code says.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), code as _, argument.as_mut_ptr()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

impl Held {
    /// Returns once the lock is held; fails where there is no userfaultfd(2).
    pub(crate) fn take() -> io::Result<Self> {
        // SAFETY: no pointers; the kernel returns a new descriptor or an error.
        let faults = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
        if faults < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just returned this descriptor to us.
        let faults = unsafe { OwnedFd::from_raw_fd(faults as i32) };
        ioctl(&faults, UFFDIO_API, [UFFD_API, 0, 0])?;
        let pages = Pages::new()?;
        let register = [pages.second(), PAGE as u64, UFFDIO_REGISTER_MODE_MISSING, 0];
        ioctl(&faults, UFFDIO_REGISTER, register)?;
        // SAFETY: the last bytes of the first page.
        let question = unsafe { pages.0.as_ptr().add(PAGE - size_of_val(&ETHTOOL_GLINK)) };
        // SAFETY: as above.
        unsafe { question.copy_from(ETHTOOL_GLINK.to_ne_bytes().as_ptr(), size_of_val(&ETHTOOL_GLINK)) };
        let question = question as usize;
        let asker = thread::spawn(move || ask(question));
        let mut message = [0; MESSAGE];
        let held = Self { faults, pages, asker: Some(asker) };
        // It comes when the kernel wants the second page: then it has the lock.
        read(&held.faults, &mut message)?;
        Ok(held)
    }
}

/// `ETHTOOL_GLINK` of `lo`, whose structure is at this address.
fn ask(question: usize) {
    // SAFETY: no pointers.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    assert!(socket >= 0, "a socket: {}", io::Error::last_os_error());
    // SAFETY: the kernel just returned this descriptor to us.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: a plain C structure, valid when zeroed.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (place, byte) in request.ifr_name.iter_mut().zip(*b"lo") {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_data = question as *mut libc::c_char;
    // SAFETY: the request and the structure it points to outlive the call.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL as _, &raw mut request) };
    assert_eq!(result, 0, "ETHTOOL_GLINK of lo: {}", io::Error::last_os_error());
}

impl Drop for Held {
    fn drop(&mut self) {
        let given = ioctl(&self.faults, UFFDIO_ZEROPAGE, [self.pages.second(), PAGE as u64, 0, 0]);
        let ended = self.asker.take().map(JoinHandle::join);
        assert!(thread::panicking() || (given.is_ok() && matches!(ended, Some(Ok(())))), "{given:?}");
    }
}
