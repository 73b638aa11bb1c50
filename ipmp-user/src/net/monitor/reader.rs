//! Reads the kernel's tables anew on a thread of its own: with a hundred thousand routes that takes longer than a failure may
//! take to be detected. It keeps nothing: what it is given it hands back, or lets go.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use tokio::sync::Notify;

use super::{replay, spare_addresses};
use crate::{
    beside,
    net::{
        NetError,
        inventory::{Inventory, Neighbour},
        socket::Socket,
    },
};

/// Between two readings: notifications that are lost continually must not keep a processor busy with tables, and what
/// linkwatch withholds of a link comes a second late as well (`net/core/link_watch.c`).
const REST: Duration = Duration::from_secs(1);

type Neighbours = BTreeMap<(u32, IpAddr), Neighbour>;

/// What the thread is asked.
enum Order {
    /// Read everything. These were the neighbours.
    Read(Neighbours),
    /// Take in what was told meanwhile.
    Replay(Box<Inventory>, Vec<u8>),
    /// That is all; this is the picture whose place was taken.
    Done(Box<Inventory>),
}

/// What it answers.
pub(super) enum News {
    /// The tables.
    Fresh(Box<Inventory>),
    /// They could not be read.
    Failed(NetError),
    /// It may be asked again.
    Rested,
}

/// The loop's end.
#[derive(Debug)]
pub(super) struct Reader {
    orders: mpsc::Sender<Order>,
    news: mpsc::Receiver<News>,
    /// Rings when there are news.
    pub(super) bell: Arc<Notify>,
}

impl Reader {
    /// Starts the thread in the caller's network namespace, whose tables it reads by this socket.
    pub(super) fn start(socket: Socket) -> Result<Self, NetError> {
        let (orders, incoming) = mpsc::channel();
        let (results, news) = mpsc::channel();
        let bell = Arc::new(Notify::new());
        let thread = Thread { socket, news: results, bell: Arc::clone(&bell) };
        beside::spawn("ipmp-read", move || thread.run(&incoming))
            .map_err(|e| NetError::io("starting the thread that reads the kernel's tables", e))?;
        Ok(Self { orders, news, bell })
    }

    pub(super) fn read(&self, neighbours: Neighbours) {
        self.order(Order::Read(neighbours));
    }

    pub(super) fn replay(&self, picture: Box<Inventory>, told: Vec<u8>) {
        self.order(Order::Replay(picture, told));
    }

    pub(super) fn done(&self, former: Box<Inventory>) {
        self.order(Order::Done(former));
    }

    /// The thread ends with this end only.
    fn order(&self, order: Order) {
        if self.orders.send(order).is_err() {
            tracing::error!("the kernel's tables can be read no more: the thread that read them has ended");
        }
    }

    pub(super) fn news(&self) -> Option<News> {
        self.news.try_recv().ok()
    }
}

struct Thread {
    socket: Socket,
    news: mpsc::Sender<News>,
    bell: Arc<Notify>,
}

impl Thread {
    fn run(mut self, orders: &mpsc::Receiver<Order>) {
        for order in orders {
            let told = match order {
                Order::Read(neighbours) => match Inventory::dump(&mut self.socket) {
                    Ok(mut fresh) => {
                        spare_addresses(&mut fresh, neighbours);
                        self.tell(News::Fresh(Box::new(fresh)))
                    }
                    Err(error) => self.tell(News::Failed(error)) && self.rest(),
                },
                Order::Replay(mut picture, told) => {
                    replay(&mut picture, &told);
                    self.tell(News::Fresh(picture))
                }
                Order::Done(former) => {
                    drop(former);
                    self.rest()
                }
            };
            if !told {
                return;
            }
        }
    }

    fn rest(&self) -> bool {
        thread::sleep(REST);
        self.tell(News::Rested)
    }

    fn tell(&self, news: News) -> bool {
        let told = self.news.send(news).is_ok();
        self.bell.notify_one();
        told
    }
}
