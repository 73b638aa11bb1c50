//! An established TCP connection that carries numbered messages to and fro.

use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, RecvTimeoutError, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};

use crate::{
    netns::Netns,
    wait::{DEADLINE, now_ns},
};

/// What the connection did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpReport {
    /// Messages that came back with their number.
    pub messages: u64,
    /// The longest time from one answer to the next.
    pub longest_gap: Duration,
}

/// A client in one namespace talking to an echo server in another.
#[derive(Debug)]
pub struct Session {
    answers_ns: Arc<Mutex<Vec<u64>>>,
    stop: Option<SyncSender<()>>,
    client: Option<JoinHandle<io::Result<()>>>,
    server: Option<JoinHandle<io::Result<()>>>,
    /// Both ends, to break off a conversation that waits for a dead path.
    ends: [TcpStream; 2],
}

impl Session {
    /// Connects from `client` to `address`, which `server` holds, and sends one message each `interval`.
    ///
    /// # Errors
    /// When the connection cannot be made.
    pub fn start(server: &Netns, client: &Netns, address: IpAddr, interval: Duration) -> Result<Self> {
        let listener = server
            .run(|| TcpListener::bind(SocketAddr::new(address, 0)))?
            .with_context(|| format!("listening on {address}"))?;
        let at = listener.local_addr().context("the listener's port")?;
        let outgoing = client
            .run(|| TcpStream::connect_timeout(&at, DEADLINE))?
            .with_context(|| format!("connecting to {at}"))?;
        let (incoming, _) = listener.accept().context("accepting")?;
        for stream in [&outgoing, &incoming] {
            stream.set_nodelay(true).context("TCP_NODELAY")?;
            stream.set_read_timeout(Some(DEADLINE)).context("SO_RCVTIMEO")?;
        }
        let ends = [
            outgoing.try_clone().context("duplicating a socket")?,
            incoming.try_clone().context("duplicating a socket")?,
        ];
        let answers_ns = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = mpsc::sync_channel(1);
        let log = Arc::clone(&answers_ns);
        Ok(Self {
            answers_ns,
            stop: Some(stop),
            client: Some(thread::spawn(move || talk(outgoing, interval, &log, &stopped))),
            server: Some(thread::spawn(move || echo(incoming))),
            ends,
        })
    }

    /// Messages answered so far.
    pub fn answered(&self) -> u64 {
        self.answers().len() as u64
    }

    /// What the connection did between two moments of `CLOCK_MONOTONIC` in nanoseconds.
    pub fn report(&self, from_ns: u64, to_ns: u64) -> TcpReport {
        let answers = self.answers();
        let pairs = answers.windows(2).filter(|pair| pair[1] >= from_ns && pair[0] <= to_ns);
        TcpReport {
            messages: answers.iter().filter(|at| (from_ns..=to_ns).contains(*at)).count() as u64,
            longest_gap: Duration::from_nanos(pairs.map(|pair| pair[1] - pair[0]).max().unwrap_or(0)),
        }
    }

    /// Ends the conversation in good order and reports on the whole of it.
    ///
    /// # Errors
    /// When the connection broke, or a number was missing or wrong.
    pub fn finish(mut self) -> Result<TcpReport> {
        self.stop = None;
        for (side, thread) in [("client", self.client.take()), ("server", self.server.take())] {
            if let Some(thread) = thread {
                thread
                    .join()
                    .map_err(|_| anyhow!("the TCP {side} panicked"))?
                    .with_context(|| format!("the TCP {side}: the connection did not survive"))?;
            }
        }
        Ok(self.report(0, u64::MAX))
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, Vec<u64>> {
        self.answers_ns.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.stop = None;
        for end in &self.ends {
            let _closed = end.shutdown(Shutdown::Both);
        }
        for thread in [self.client.take(), self.server.take()].into_iter().flatten() {
            let _failed = thread.join();
        }
    }
}

/// The client: sends a number, wants it back, and so on until told to stop.
fn talk(
    mut stream: TcpStream,
    interval: Duration,
    answers_ns: &Mutex<Vec<u64>>,
    stopped: &mpsc::Receiver<()>,
) -> io::Result<()> {
    let mut number = 0_u64;
    loop {
        stream.write_all(&number.to_be_bytes())?;
        let mut answer = [0; 8];
        stream.read_exact(&mut answer)?;
        if u64::from_be_bytes(answer) != number {
            return Err(io::Error::other(format!("message {number} came back as {answer:?}")));
        }
        answers_ns.lock().unwrap_or_else(PoisonError::into_inner).push(now_ns());
        number += 1;
        match stopped.recv_timeout(interval) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(()) | Err(RecvTimeoutError::Disconnected) => return stream.shutdown(Shutdown::Write),
        }
    }
}

/// The server: returns each message, provided that its number is the next one.
fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut message = [0; 8];
    let mut expected = 0_u64;
    loop {
        match stream.read_exact(&mut message) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(error) => return Err(error),
        }
        if u64::from_be_bytes(message) != expected {
            return Err(io::Error::other(format!("message {expected} arrived as {message:?}")));
        }
        stream.write_all(&message)?;
        expected += 1;
    }
}
