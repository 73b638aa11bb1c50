//! Threads beside the daemon's loop, for what may have to wait. They own no state: what they are given they hand back.

use std::{
    io,
    sync::{Arc, mpsc},
    thread,
};

use tokio::sync::Notify;

/// The stack of each in bytes, locked into memory as all of the daemon's.
const STACK: usize = 256 << 10;

/// Starts one, in the caller's network namespace.
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(run).map(drop)
}

/// Somebody who answers questions one after the other. Ends with this end.
#[derive(Debug)]
pub(crate) struct Answerer<Q, A> {
    questions: mpsc::Sender<Q>,
    answers: mpsc::Receiver<A>,
    bell: Arc<Notify>,
}

impl<Q: Send + 'static, A: Send + 'static> Answerer<Q, A> {
    /// Starts the thread. A question without an answer is let go.
    pub(crate) fn start(
        name: &str,
        mut answer: impl FnMut(Q) -> Option<A> + Send + 'static,
    ) -> io::Result<Self> {
        let (questions, asked) = mpsc::channel();
        let (results, answers) = mpsc::channel();
        let bell = Arc::new(Notify::new());
        let rung = Arc::clone(&bell);
        spawn(name, move || {
            for answer in asked.into_iter().filter_map(&mut answer) {
                if results.send(answer).is_err() {
                    return;
                }
                rung.notify_one();
            }
        })?;
        Ok(Self { questions, answers, bell })
    }

    /// Asks, without waiting. False: the thread has ended.
    pub(crate) fn ask(&self, question: Q) -> bool {
        self.questions.send(question).is_ok()
    }

    /// An answer, if there is one.
    pub(crate) fn answer(&self) -> Option<A> {
        self.answers.try_recv().ok()
    }

    /// Rings when there is one.
    pub(crate) fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }
}
