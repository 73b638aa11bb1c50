//! What others see: the kernel's notifications, frames on the wire, a neighbour in another namespace.

use std::{
    process::Command,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
};

use nix::sched::{CloneFlags, unshare};

use crate::harness::{eventually, ip};

/// `ip monitor` of addresses and routes, from when it has subscribed.
pub(crate) struct Log {
    child: std::process::Child,
    file: tempfile::NamedTempFile,
}

impl Log {
    pub(crate) fn start() -> Self {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let out = file.reopen().expect("a file");
        let mut command = Command::new("ip");
        let child =
            command.args(["monitor", "address", "route"]).stdout(out).spawn().expect("ip monitor runs");
        let log = Self { child, file };
        log.mark("127.0.0.101/32");
        log
    }

    /// Adds and deletes an address on the loopback interface until it shows.
    fn mark(&self, address: &str) {
        eventually("ip monitor shows a mark", || {
            ip(&format!("addr add {address} dev lo"));
            ip(&format!("addr del {address} dev lo"));
            self.text().contains(address)
        });
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.file.path()).expect("the log")
    }

    /// Its lines, one an event.
    pub(crate) fn finish(mut self) -> Vec<String> {
        self.mark("127.0.0.102/32");
        self.child.kill().expect("ours to end");
        self.child.wait().expect("ended");
        // A multipath route goes on in lines that begin with a tab.
        self.text().replace("\n\t", " ").lines().map(str::to_owned).collect()
    }
}

/// Sees every frame of this namespace.
pub(crate) struct Sniffer(std::os::fd::OwnedFd);

impl Sniffer {
    pub(crate) fn open() -> Self {
        use nix::sys::socket::{
            AddressFamily, SockFlag, SockProtocol, SockType, setsockopt, socket, sockopt::RcvBufForce,
        };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
            .expect("a packet socket");
        // So that nothing is lost before it is looked at.
        setsockopt(&socket, RcvBufForce, &(8 << 20)).expect("a larger buffer");
        Self(socket)
    }

    /// Those that have arrived, each at least 60 bytes long.
    pub(crate) fn frames(&self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        let mut buffer = [0; 2048];
        while let Ok(length) = nix::unistd::read(&self.0, &mut buffer) {
            frames.push(buffer[..length.max(60)].to_vec());
        }
        frames
    }
}

/// A second namespace into which one end of a veth pair was moved; it goes when this is dropped.
pub(crate) struct Neighbourhood {
    lines: Option<Sender<String>>,
    done: Receiver<()>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Neighbourhood {
    /// Moves `interface` there, sets it up and runs `ip` with each line.
    pub(crate) fn with(interface: &str, lines: &[&str]) -> Self {
        let (ready, made) = channel();
        let (line, script) = channel::<String>();
        let (ran, done) = channel();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a second namespace");
            ready.send(nix::unistd::gettid()).expect("the test waits");
            for line in script {
                ip(&line);
                ran.send(()).expect("the test waits");
            }
        });
        let id = made.recv().expect("a namespace");
        ip(&format!("link set {interface} netns {id}"));
        let neighbourhood = Self { lines: Some(line), done, thread: Some(thread) };
        neighbourhood.ip(&format!("link set {interface} up"));
        for line in lines {
            neighbourhood.ip(line);
        }
        neighbourhood
    }

    /// Runs `ip LINE` there.
    pub(crate) fn ip(&self, line: &str) {
        let lines = self.lines.as_ref().expect("only dropping takes it");
        lines.send(line.to_owned()).expect("the thread waits");
        self.done.recv().expect("it ran");
    }
}

impl Drop for Neighbourhood {
    fn drop(&mut self) {
        drop(self.lines.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
