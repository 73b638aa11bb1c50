//! The server on the control thread. Every wait has a limit and every buffer a bound.

use std::{io, sync::Arc, time::Duration};

use ipmp_common::engine::time::Timestamp;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        UnixListener, UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex, mpsc, oneshot},
    task::yield_now,
    time::{Instant, sleep, timeout},
};

use super::{
    Request, RequestKind, Response,
    feed::{Feed, FinishedProbe},
    protocol::{Command, Content, MAX_CALL, Refusal, RefusalCode, parse_call},
    seats::{Seat, Seats},
    status,
};
use crate::journal::Journal;

/// Clients of root at once.
pub(super) const MAX_ROOT_CLIENTS: usize = 32;
/// Other clients at once; counted apart, so that they cannot keep root out.
pub(super) const MAX_OTHER_CLIENTS: usize = 32;
/// How many of either may follow events: these hold their seats for good.
pub(super) const MAX_FOLLOWERS: usize = 16;
/// A client that takes none of our bytes for so long is dropped.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(2);
/// A client that holds its connection without a call for so long is dropped.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// The loop answers within a turn, unless it is stopped or starved.
const LOOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Some orders take several exchanges with the kernel; within the client's patience.
const ORDER_TIMEOUT: Duration = Duration::from_secs(30);
/// Status answers younger than this are shared: a person cannot tell, and a flood cannot load the loop.
pub(super) const STATUS_SHARED: Duration = Duration::from_millis(20);
/// Events written at once.
const EVENTS_AT_ONCE: usize = 128;
/// Pause after a failed accept (out of descriptors), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What all clients share.
pub(super) struct Shared {
    questions: mpsc::Sender<Request>,
    journal: Arc<Journal>,
    feed: Feed,
    /// The newest status line and when it was made. Held locked while the loop is asked, so that all who come
    /// meanwhile share the answer.
    status: Mutex<Option<(Instant, Arc<[u8]>)>>,
}

impl Shared {
    pub(super) fn new(questions: mpsc::Sender<Request>, journal: Arc<Journal>, feed: Feed) -> Self {
        Self { questions, journal, feed, status: Mutex::new(None) }
    }
}

/// Serves until `stopped` resolves.
pub(super) async fn run(
    listener: UnixListener,
    shared: Shared,
    finished: mpsc::Receiver<FinishedProbe>,
    stopped: oneshot::Receiver<()>,
) {
    let shared = Arc::new(shared);
    tokio::select! {
        // Both outcomes mean the same: the handle was dropped.
        _ = stopped => {}
        () = shared.journal.pump() => {}
        () = shared.feed.pump(finished) => {}
        () = accept(&listener, &shared) => {}
    }
}

async fn accept(listener: &UnixListener, shared: &Arc<Shared>) {
    let root = Seats::new(MAX_ROOT_CLIENTS, MAX_FOLLOWERS);
    let others = Seats::new(MAX_OTHER_CLIENTS, MAX_FOLLOWERS);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("control socket: cannot accept a client: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(peer) = stream.peer_cred() else { continue };
        let is_root = peer.uid() == 0;
        let seats = if is_root { &root } else { &others };
        if let Some(seat) = seats.take(Instant::now()) {
            let shared = Arc::clone(shared);
            tokio::spawn(async move {
                tokio::select! {
                    served = serve(stream, is_root, &seat, &shared) => {
                        if let Err(error) = served {
                            tracing::debug!("control socket: client dropped: {error}");
                        }
                    }
                    () = seat.taken_away() => tracing::debug!("control socket: a silent client made room"),
                }
            });
        } else {
            let refusal =
                Refusal::new(RefusalCode::NoSeat, "too many clients: control socket: try again later");
            // An empty socket buffer takes a line at once; a client that goes unanswered sees the end.
            let _ = stream.try_write(&Content::Error { error: refusal }.line());
        }
        // Those who are in come before those who want in.
        yield_now().await;
    }
}

/// One client, from its first call to its end.
pub(super) async fn serve(stream: UnixStream, is_root: bool, seat: &Seat, shared: &Shared) -> io::Result<()> {
    let (reader, writer) = stream.into_split();
    let mut reader = BufReader::with_capacity(MAX_CALL, reader);
    let mut writer = Writer { stream: writer, seat };
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut reader).take(MAX_CALL as u64);
        seat.client_is_awaited(true);
        let Ok(length) = timeout(IDLE_TIMEOUT, limited.read_until(b'\n', &mut line)).await else {
            return Ok(());
        };
        seat.client_is_awaited(false);
        if length? == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') && line.len() >= MAX_CALL {
            let text = format!("call too long: control socket: send at most {MAX_CALL} bytes a line");
            return writer.refuse(Refusal::new(RefusalCode::BadCall, text)).await;
        }
        match parse_call(&line) {
            Ok(call) => answer(call.command, is_root, &mut reader, &mut writer, shared).await?,
            // Whoever does not speak our language is not waited for again.
            Err(refusal) => return writer.refuse(refusal).await,
        }
    }
}

async fn answer(
    command: Command,
    is_root: bool,
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut Writer<'_>,
    shared: &Shared,
) -> io::Result<()> {
    let order = match command {
        Command::Status => {
            let line = status_line(shared).await;
            return writer.send(&line).await;
        }
        Command::Events { since_ns, follow } => {
            return events(since_ns.map(Timestamp), follow, reader, writer, &shared.journal).await;
        }
        Command::Probes => return probes(reader, writer, &shared.feed).await,
        Command::Offline { interface, force } => RequestKind::Offline { interface, force },
        Command::Online { interface } => RequestKind::Online { interface },
        Command::Reload => RequestKind::Reload,
        Command::Detach(wanted) => RequestKind::Detach(wanted),
        Command::Attach(wanted) => RequestKind::Attach(wanted),
    };
    if !is_root {
        let text = "not permitted: changing an interface's state or the configuration: run ipmp as root";
        return writer.refuse(Refusal::new(RefusalCode::NotPermitted, text)).await;
    }
    let line = match ask(order, ORDER_TIMEOUT, shared).await {
        Ok(response) => content(response).line(),
        Err(error) => Content::Error { error }.line(),
    };
    // Who gave an order must see what came of it.
    *shared.status.lock().await = None;
    writer.send(&line).await
}

/// The newest status, at most [`STATUS_SHARED`] old; a refusal is shared like an answer.
async fn status_line(shared: &Shared) -> Arc<[u8]> {
    let mut newest = shared.status.lock().await;
    match newest.as_ref() {
        Some((made, line)) if made.elapsed() < STATUS_SHARED => return Arc::clone(line),
        Some(_) | None => {}
    }
    let line: Arc<[u8]> = match ask(RequestKind::Status, LOOP_TIMEOUT, shared).await {
        Ok(response) => content(response).line().into(),
        Err(error) => Content::Error { error }.line().into(),
    };
    *newest = Some((Instant::now(), Arc::clone(&line)));
    line
}

fn content(response: Response) -> Content {
    match response {
        Response::Status { snapshot, evidence } => {
            Content::Status { status: Box::new(status::build(&snapshot, &evidence)) }
        }
        Response::Done(message) => Content::Done { message },
        Response::Refused(error) => Content::Error { error },
    }
}

/// Puts a question to the loop.
async fn ask(kind: RequestKind, patience: Duration, shared: &Shared) -> Result<Response, Refusal> {
    let busy = |text: &str| Refusal::new(RefusalCode::Busy, text);
    let (reply, answered) = oneshot::channel();
    let question = Request { kind, reply };
    if shared.questions.try_send(question).is_err() {
        return Err(busy("too many requests wait: the daemon's loop: try again later"));
    }
    match timeout(patience, answered).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(_)) => Err(busy("request dropped: the daemon's loop: it is ending, or see its log")),
        Err(_) => Err(busy("no answer: the daemon's loop: it is stopped or starved; see `ipmp events`")),
    }
}

/// The journal, straight to the client; with `follow` until the client hangs up.
async fn events(
    since: Option<Timestamp>,
    follow: bool,
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut Writer<'_>,
    journal: &Journal,
) -> io::Result<()> {
    if follow && !writer.seat.follow() {
        let text = "too many follow already: control socket: end one of them, or try again later";
        return writer.refuse(Refusal::new(RefusalCode::Busy, text)).await;
    }
    let mut cursor = journal.cursor(since);
    loop {
        let batch = journal.read(&mut cursor, EVENTS_AT_ONCE);
        let mut lines = Vec::new();
        if batch.dropped > 0 {
            lines.extend(Content::Dropped { dropped: batch.dropped }.line());
        }
        let more = batch.events.len() == EVENTS_AT_ONCE;
        for event in batch.events {
            let event = Box::new(event.as_ref().clone());
            lines.extend(Content::Event { event }.line());
        }
        writer.send(&lines).await?;
        if more {
            continue;
        }
        if !follow {
            return writer.send(&Content::End.line()).await;
        }
        tokio::select! {
            () = journal.grown(&cursor) => {}
            // A follower has nothing more to say; its end, or anything else, ends the following.
            _ = reader.fill_buf() => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

/// Every probe from now on, until the client hangs up.
async fn probes(
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut Writer<'_>,
    feed: &Feed,
) -> io::Result<()> {
    if !writer.seat.follow() {
        let text = "too many follow already: control socket: end one of them, or try again later";
        return writer.refuse(Refusal::new(RefusalCode::Busy, text)).await;
    }
    let mut watcher = feed.watch();
    loop {
        let content = tokio::select! {
            next = watcher.next() => match next {
                Some(Ok(probe)) => Content::Probe { probe: probe.as_ref().clone() },
                Some(Err(dropped)) => Content::Dropped { dropped },
                None => Content::End,
            },
            // As a follower of events.
            _ = reader.fill_buf() => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        let last = content == Content::End;
        writer.send(&content.line()).await?;
        if last {
            return Ok(());
        }
    }
}

/// The client's side that may stand still.
struct Writer<'s> {
    stream: OwnedWriteHalf,
    seat: &'s Seat,
}

impl Writer<'_> {
    /// Writes everything; an error if the client takes nothing for [`WRITE_TIMEOUT`].
    async fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.seat.client_is_awaited(true);
            let written = timeout(WRITE_TIMEOUT, self.stream.write(bytes)).await;
            self.seat.client_is_awaited(false);
            let written = written.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    async fn refuse(&mut self, error: Refusal) -> io::Result<()> {
        self.send(&Content::Error { error }.line()).await
    }
}
