//! What an interface has counted, read by a thread of its own: the question takes the RTNL lock.

use std::{
    sync::{Arc, mpsc},
    thread,
};

use ipmp_common::engine::errors::Errors;
use rtnetlink::packet_route::link::LinkAttribute;
use tokio::sync::Notify;

use super::{NetError, socket::Socket};

/// Its stack in bytes, locked into memory as all of the daemon's.
const STACK: usize = 256 << 10;

/// The loop's end.
#[derive(Debug)]
pub struct Counters {
    questions: mpsc::Sender<u32>,
    answers: mpsc::Receiver<(u32, Errors)>,
    bell: Arc<Notify>,
}

impl Counters {
    /// Starts the thread in the caller's network namespace.
    ///
    /// # Errors
    /// When there is no socket, or no thread.
    pub fn start() -> Result<Self, NetError> {
        let mut socket = Socket::open()?;
        let (questions, asked) = mpsc::channel::<u32>();
        let (results, answers) = mpsc::channel();
        let bell = Arc::new(Notify::new());
        let rung = Arc::clone(&bell);
        let run = move || {
            for ifindex in asked {
                match read(&mut socket, ifindex) {
                    Ok(errors) if results.send((ifindex, errors)).is_err() => return,
                    Ok(_) => rung.notify_one(),
                    // It has gone, as a rule.
                    Err(error) => tracing::debug!(ifindex, %error, "its counters cannot be read"),
                }
            }
        };
        thread::Builder::new()
            .name("ipmp-count".to_owned())
            .stack_size(STACK)
            .spawn(run)
            .map_err(|e| NetError::io("starting the thread that reads counters", e))?;
        Ok(Self { questions, answers, bell })
    }

    /// Rings when there is an answer.
    pub fn bell(&self) -> Arc<Notify> {
        Arc::clone(&self.bell)
    }

    /// Has the counters of an interface read. Without the thread nothing is told of them.
    pub fn ask(&self, ifindex: u32) {
        let _ = self.questions.send(ifindex);
    }

    /// An interface whose counters were read.
    pub fn answer(&self) -> Option<(u32, Errors)> {
        self.answers.try_recv().ok()
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "the netlink crate's enums grow with the kernel")]
fn read(socket: &mut Socket, ifindex: u32) -> Result<Errors, NetError> {
    let link = socket.link(ifindex)?;
    let mut errors = Errors::default();
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::Stats64(stats) => {
                errors = Errors {
                    rx_errors: stats.rx_errors,
                    rx_crc_errors: stats.rx_crc_errors,
                    rx_frame_errors: stats.rx_frame_errors,
                    rx_missed_errors: stats.rx_missed_errors,
                    rx_dropped: stats.rx_dropped,
                    tx_errors: stats.tx_errors,
                    tx_carrier_errors: stats.tx_carrier_errors,
                    tx_dropped: stats.tx_dropped,
                    collisions: stats.collisions,
                    carrier_losses: errors.carrier_losses,
                };
            }
            LinkAttribute::CarrierDownCount(count) => errors.carrier_losses = u64::from(*count),
            _ => {}
        }
    }
    Ok(errors)
}
