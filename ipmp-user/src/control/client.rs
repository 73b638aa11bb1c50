//! The client's side of the control socket: blocking, for `ipmp`.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use nix::sys::socket::{getsockopt, sockopt};

use super::{
    feed::FinishedProbe,
    protocol::{Answer, Call, Command, Content, Refusal, RefusalCode, VERSION},
    socket::SOCKET,
    status::Status,
};

/// The daemon carries out orders within 30 s.
const ORDER_TIMEOUT: Duration = Duration::from_secs(40);
/// It answers questions within 5 s even when its loop is starved.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a client knocks at a daemon that has too many others, and how often.
const KNOCK_FOR: Duration = Duration::from_secs(5);
const KNOCK_PAUSE: Duration = Duration::from_millis(50);
/// Longest line that is read: a status of the largest configuration has some 30 MB.
const MAX_ANSWER: u64 = 64 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no daemon: {}: {source}: start ipmpd, or name its directory with --runtime-dir", path.display())]
    NoDaemon {
        /// The socket.
        path: PathBuf,
        /// What connect said.
        source: io::Error,
    },
    /// The socket's mode forbids it.
    #[error("not permitted: {}: {source}: run ipmp as root, or join the group of [daemon] control-group", path.display())]
    NotPermitted {
        /// The socket.
        path: PathBuf,
        /// What connect said.
        source: io::Error,
    },
    /// The connection broke.
    #[error("the daemon's answer was lost: {}: {source}: see whether ipmpd still runs", path.display())]
    Lost {
        /// The socket.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// It is there but says nothing.
    #[error("the daemon does not answer: {}: silent for {} s: see whether ipmpd is stopped", path.display(), after.as_secs())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// How long it was waited for.
        after: Duration,
    },
    /// The daemon said no; the text is complete.
    #[error("{}", .0.text)]
    Refused(Refusal),
}

fn open(path: &Path) -> Result<UnixStream, ClientError> {
    let path = path.to_owned();
    let connected = UnixStream::connect(&path).and_then(|stream| {
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        Ok(stream)
    });
    connected.map_err(|source| {
        if source.kind() == io::ErrorKind::PermissionDenied {
            ClientError::NotPermitted { path, source }
        } else {
            ClientError::NoDaemon { path, source }
        }
    })
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    path: PathBuf,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// Connects to the daemon that serves `runtime_dir`.
    pub fn connect(runtime_dir: &Path) -> Result<Self, ClientError> {
        let path = runtime_dir.join(SOCKET);
        let stream = BufReader::new(open(&path)?);
        Ok(Self { path, stream })
    }

    /// The daemon's process, as far as this side can see it (`SO_PEERCRED`, unix(7)).
    pub fn process(&self) -> Option<i32> {
        let peer = getsockopt(self.stream.get_ref(), sockopt::PeerCredentials).ok()?;
        Some(peer.pid()).filter(|pid| *pid > 0)
    }

    /// The status document.
    pub fn status(&mut self) -> Result<Status, ClientError> {
        match self.call(Command::Status, Some(ANSWER_TIMEOUT))? {
            Content::Status { status } => Ok(*status),
            Content::Error { error } => Err(ClientError::Refused(error)),
            other @ (Content::Event { .. }
            | Content::Probe { .. }
            | Content::Dropped { .. }
            | Content::End
            | Content::Done { .. }) => Err(self.unexpected(&other)),
        }
    }

    /// Carries out an order; the text is for people.
    pub fn order(&mut self, command: Command) -> Result<String, ClientError> {
        match self.call(command, Some(ORDER_TIMEOUT))? {
            Content::Done { message } => Ok(message),
            Content::Error { error } => Err(ClientError::Refused(error)),
            other @ (Content::Event { .. }
            | Content::Probe { .. }
            | Content::Dropped { .. }
            | Content::End
            | Content::Status { .. }) => Err(self.unexpected(&other)),
        }
    }

    /// Hands every event, and every notice of dropped ones, to `each` until the end, or until `each` says stop
    /// by `false`. With `follow` there is no other end than the daemon's.
    pub fn events(
        &mut self,
        since_ns: Option<u64>,
        follow: bool,
        mut each: impl FnMut(Told) -> bool,
    ) -> Result<(), ClientError> {
        // Where nothing has happened yet, even the first event may be long in coming.
        let patience = (!follow).then_some(ANSWER_TIMEOUT);
        let mut first = Some(self.call(Command::Events { since_ns, follow }, patience)?);
        loop {
            let told = match first.take().map_or_else(|| self.next(), Ok)? {
                Content::Event { event } => Told::Event(event),
                Content::Dropped { dropped } => Told::Dropped(dropped),
                Content::End => return Ok(()),
                Content::Error { error } => return Err(ClientError::Refused(error)),
                other @ (Content::Status { .. } | Content::Done { .. } | Content::Probe { .. }) => {
                    return Err(self.unexpected(&other));
                }
            };
            if !each(told) {
                return Ok(());
            }
        }
    }

    /// Hands every probe that is finished from now on to `each`, until that says stop by `false`, or the daemon ends.
    pub fn probes(&mut self, mut each: impl FnMut(&FinishedProbe) -> bool) -> Result<(), ClientError> {
        let mut first = Some(self.call(Command::Probes, None)?);
        loop {
            match first.take().map_or_else(|| self.next(), Ok)? {
                Content::Probe { probe } if each(&probe) => {}
                Content::Probe { .. } | Content::End => return Ok(()),
                // Too many for this reader: there are gaps then.
                Content::Dropped { .. } => {}
                Content::Error { error } => return Err(ClientError::Refused(error)),
                other @ (Content::Status { .. } | Content::Done { .. } | Content::Event { .. }) => {
                    return Err(self.unexpected(&other));
                }
            }
        }
    }

    /// The first answer to a call. Sent away for want of a seat, the call was not even read: it is put again.
    /// No patience is endless patience.
    fn call(&mut self, command: Command, patience: Option<Duration>) -> Result<Content, ClientError> {
        let call = Call { version: VERSION, command };
        let until = Instant::now() + KNOCK_FOR;
        loop {
            let patient = self.stream.get_ref().set_read_timeout(patience);
            patient.map_err(|source| self.lost(source))?;
            self.send(&call)?;
            match self.next() {
                Ok(Content::Error { error })
                    if error.code == RefusalCode::NoSeat && Instant::now() < until =>
                {
                    thread::sleep(KNOCK_PAUSE);
                    self.stream = BufReader::new(open(&self.path)?);
                }
                answer => return answer,
            }
        }
    }

    fn send(&mut self, call: &Call) -> Result<(), ClientError> {
        let sent = serde_json::to_vec(call).map_err(io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            self.stream.get_mut().write_all(&line)
        });
        match sent {
            // A daemon that refuses a client outright has closed already; its reason is still to be read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            Err(source) => Err(self.lost(source)),
            Ok(()) => Ok(()),
        }
    }

    fn next(&mut self) -> Result<Content, ClientError> {
        let mut line = Vec::new();
        let read = (&mut self.stream).take(MAX_ANSWER).read_until(b'\n', &mut line);
        let answer = read.and_then(|length| match length {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => serde_json::from_slice::<Answer>(&line).map_err(io::Error::from),
        });
        answer.map(|answer| answer.content).map_err(|source| self.lost(source))
    }

    fn lost(&self, source: io::Error) -> ClientError {
        if source.kind() == io::ErrorKind::WouldBlock {
            // A socket's timeout, socket(7).
            let after = self.stream.get_ref().read_timeout().ok().flatten().unwrap_or(ANSWER_TIMEOUT);
            return ClientError::Silent { path: self.path.clone(), after };
        }
        ClientError::Lost { path: self.path.clone(), source }
    }

    fn unexpected(&self, content: &Content) -> ClientError {
        let text = format!("it is of another kind than asked for: {content:?}");
        self.lost(io::Error::new(io::ErrorKind::InvalidData, text))
    }
}

/// What a reader of events is told.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Something happened.
    Event(Box<crate::journal::Event>),
    /// So many events were forgotten before they could be read.
    Dropped(u64),
}

#[cfg(test)]
mod tests;
