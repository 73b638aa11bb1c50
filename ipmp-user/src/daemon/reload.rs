//! Another configuration for the running daemon: read and checked on a thread of its own, compared, and only the
//! difference carried out.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, thread};

use ipmp_common::engine::{
    config::{Config, DataAddresses, InterfaceConfig},
    event::Event,
    ids::{GroupId, MemberId},
    time::Timestamp,
};
use tokio::sync::{mpsc, oneshot};

use super::{Daemon, members::MemberIo, ungrouped};
use crate::{
    config::{self, ConfigError, FileConfig},
    control::{
        Response,
        protocol::{Attach, Refusal, RefusalCode},
    },
    net::{
        address::Address,
        apply::{Failure, Step, Taken, Work},
    },
};

/// Files being read at once; more would wait for the first anyway.
const LOADS: usize = 4;
/// The parser's stack: it does not recurse deeper than TOML's tables nest.
const STACK: usize = 1 << 20;

/// Where an answer goes; `None`: nobody asked (SIGHUP).
pub(super) type Reply = Option<oneshot::Sender<Response>>;

/// A configuration and the text it was made from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) text: Arc<[u8]>,
    pub(super) file: FileConfig,
}

/// What a file was read for.
#[derive(Debug)]
pub(super) enum Purpose {
    Reload,
    Attach {
        wanted: Attach,
        /// What it was made from, with an entry more.
        base: Arc<[u8]>,
    },
}

/// A file that was read, or could not be.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) source: Result<Source, ConfigError>,
    pub(super) purpose: Purpose,
    pub(super) reply: Reply,
}

/// Reads files while the loop goes on.
#[derive(Debug)]
pub(super) struct Loader {
    pub(super) loaded: mpsc::Receiver<Loaded>,
    results: mpsc::Sender<Loaded>,
}

impl Loader {
    pub(super) fn new() -> Self {
        let (results, loaded) = mpsc::channel(LOADS);
        Self { loaded, results }
    }

    /// Starts reading. The answer says no if that is impossible now.
    pub(super) fn start(
        &self,
        read: impl FnOnce() -> Result<Source, ConfigError> + Send + 'static,
        purpose: Purpose,
        reply: Reply,
    ) {
        let Ok(place) = self.results.clone().try_reserve_owned() else {
            let text = "too many at once: reading the configuration: try again later";
            return answer(reply, Response::Refused(Refusal::new(RefusalCode::Busy, text)));
        };
        let run = move || {
            let source = read();
            place.send(Loaded { source, purpose, reply });
        };
        beside("ipmpd-load", run);
    }
}

/// Does what takes its time on a thread of its own. What cannot be started drops the answer with it, which tells the client.
pub(super) fn beside(name: &str, run: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new().name(name.into()).stack_size(STACK).spawn(run) {
        tracing::error!(%error, name, "the configuration cannot be read or written: no thread");
    }
}

/// Answers whoever asked.
pub(super) fn answer(reply: Reply, response: Response) {
    if let Some(reply) = reply {
        // The client may have gone; then nobody wants the answer.
        let _ = reply.send(response);
    }
}

impl Daemon {
    /// SIGHUP, or `ipmp reload`.
    pub(super) fn reload(&self, reply: Reply) {
        let path = self.admin.config_path.clone();
        let read = move || {
            let text = config::read(&path)?;
            let file = config::parse(&path.display().to_string(), &text)?;
            Ok(Source { text: text.into(), file })
        };
        self.admin.loader.start(read, Purpose::Reload, reply);
    }

    pub(super) fn take_loaded(&mut self, now: Timestamp, loaded: Loaded) {
        let Loaded { source, purpose, reply } = loaded;
        let source = match source {
            Ok(source) => source,
            Err(error) => {
                let stays = "the configuration in force stays as it is";
                for line in error.to_string().lines() {
                    tracing::error!("{}; {stays}", line.trim_start_matches("ipmp: "));
                }
                let text = format!("{error}\nipmp: {stays}");
                return answer(reply, Response::Refused(Refusal::new(RefusalCode::InvalidConfig, text)));
            }
        };
        if let Err(refusal) = self.admin.idle("the configuration") {
            tracing::error!("{}", refusal.text);
            return answer(reply, Response::Refused(refusal));
        }
        match purpose {
            Purpose::Reload => {
                let changes = match self.change_config(now, source) {
                    Ok(changes) => changes,
                    Err(refusal) => {
                        tracing::error!("{}", refusal.text);
                        return answer(reply, Response::Refused(refusal));
                    }
                };
                let file = self.admin.config_path.display();
                let text = match changes.as_slice() {
                    [] => format!("{file}: reloaded: nothing is different"),
                    [one] => format!("{file}: reloaded: {one}"),
                    many => format!("{file}: reloaded:\n  {}", many.join("\n  ")),
                };
                tracing::info!("{text}");
                answer(reply, Response::Done(text));
            }
            Purpose::Attach { wanted, base } => self.attach_configured(now, wanted, &base, source, reply),
        }
    }

    /// Puts a configuration in force; returns what was different. Refused if another daemon serves one of its groups or
    /// interfaces.
    pub(super) fn change_config(&mut self, now: Timestamp, source: Source) -> Result<Vec<String>, Refusal> {
        let mut identities = self.admin.identities.clone();
        identities.set(&source.file);
        let renames = identities.follow(&self.inventory, &source.file.engine);
        let mut config = identities.read(&source.file.engine);
        self.claims.add(&config).map_err(|error| {
            let text = format!("{error:#}; the configuration in force stays as it is");
            Refusal::new(RefusalCode::Refused, text)
        })?;
        let changes = config::differences(&self.admin.source.file, &source.file);
        ungrouped::complete(&mut config, &source.file.daemon, &self.inventory);
        // What takes a restart stays different until then.
        let Source { text, mut file } = source;
        file.daemon.real_time_priority = self.admin.source.file.daemon.real_time_priority;
        file.daemon.control_group.clone_from(&self.admin.source.file.daemon.control_group);
        self.admin.source = Source { text, file };
        self.rename(now, identities, renames);
        if config.groups == self.engine.config().groups {
            self.sync_links(now, Some(0));
            return Ok(changes);
        }
        self.claims.keep(&config);
        let tests = self.test_addresses();
        self.engine.handle(now, Event::Reconfigure { groups: config.groups.clone() });
        let left = self.renumber();
        self.release_tests(&tests, &config);
        for member in left {
            self.give_up(&member);
        }
        self.forget_groups();
        self.keep_offline();
        // Their carrier is not asked for: what the inventory knows of it may be old.
        self.sync_links(now, Some(0));
        self.sync_sources(now);
        self.targets.changed();
        self.reassert.ordered_anew();
        let placements: Vec<_> = self.placements.values().cloned().collect();
        for placement in placements {
            self.set_placement(now, placement);
        }
        Ok(changes)
    }

    /// Watches interfaces in no group that were not there before; with them those that have gone meanwhile are forgotten.
    pub(super) fn track_newcomers(&mut self, now: Timestamp) {
        let Source { text, file } = &self.admin.source;
        let config = self.admin.identities.read(&file.engine);
        let found =
            ungrouped::group(&self.inventory, &config).map_or_else(Vec::new, |group| group.interfaces);
        let in_force = self.engine.config();
        let known = |name: &str| {
            let mut groups = in_force.groups.iter();
            groups.any(|group| group.interfaces.iter().any(|interface| interface.name == name))
        };
        if found.iter().all(|interface| known(&interface.name)) {
            return;
        }
        let same = Source { text: Arc::clone(text), file: file.clone() };
        if let Err(refusal) = self.change_config(now, same) {
            tracing::warn!("a new interface is not watched: {}", refusal.text);
        }
    }

    /// Takes over the engine's numbers; returns members that are none any more, or whose number is another's now.
    fn renumber(&mut self) -> Vec<MemberIo> {
        let mut wanted: BTreeMap<MemberId, (GroupId, bool, InterfaceConfig)> = BTreeMap::new();
        for group in self.engine.roster() {
            for (id, interface) in group.members.iter().zip(&group.config.interfaces) {
                wanted.insert(*id, (group.group, group.config.is_anonymous(), interface.clone()));
            }
        }
        let count = wanted.keys().next_back().map_or(0, |id| id.0 + 1).max(self.members.len() as u32);
        let mut old = std::mem::take(&mut self.members).into_iter();
        let mut left = Vec::new();
        for id in (0..count).map(MemberId) {
            let known = old.next();
            let member = match (wanted.remove(&id), known) {
                (Some((group, ungrouped, config)), Some(mut known))
                    if known.group == group && known.config.name == config.name =>
                {
                    known.ungrouped = ungrouped;
                    known.config = config;
                    known
                }
                (other, known) => {
                    left.extend(known);
                    other.map_or_else(
                        || MemberIo::nobody(id),
                        |(group, ungrouped, config)| MemberIo::new(id, group, ungrouped, config),
                    )
                }
            };
            self.members.push(member);
        }
        self.name_all();
        left
    }

    /// Gives the journal the names in force.
    pub(super) fn name_all(&mut self) {
        let groups = self.engine.roster().map(|group| (group.group, group.config.name.clone()));
        let members = self.members.iter().filter(|member| !member.is_nobody());
        let members = members.map(|member| (member.id, member.config.name.clone()));
        self.names = self.names.with(groups, members);
    }

    /// The test addresses of every present member.
    fn test_addresses(&self) -> Vec<(u32, IpAddr)> {
        let present = self.members.iter().filter_map(|member| Some((member.ifindex?, member)));
        present
            .flat_map(|(ifindex, member)| member.config.test.iter().map(move |ip| (ifindex, *ip)))
            .collect()
    }

    /// Takes off the test addresses that are configured no longer.
    fn release_tests(&mut self, before: &[(u32, IpAddr)], config: &Config) {
        let now: Vec<(Option<u32>, IpAddr)> = config
            .groups
            .iter()
            .flat_map(|group| &group.interfaces)
            .flat_map(|interface| {
                let ifindex = self.inventory.link_by_name(&interface.name).map(|link| link.ifindex);
                interface.test.iter().map(move |ip| (ifindex, *ip))
            })
            .collect();
        let data: Vec<IpAddr> = config
            .groups
            .iter()
            .flat_map(|group| &group.interfaces)
            .flat_map(|interface| match &interface.data {
                DataAddresses::Adopt => &[][..],
                DataAddresses::Listed(listed) => listed.as_slice(),
            })
            .map(ipnet::IpNet::addr)
            .collect();
        let gone = before.iter().filter(|(on, ip)| !now.contains(&(Some(*on), *ip)) && !data.contains(ip));
        let addresses: Vec<Address> =
            gone.filter_map(|(on, ip)| self.standing(*on, *ip)).filter(|a| !a.is_link_local_v6()).collect();
        if !addresses.is_empty() {
            self.step(Work::Remove(addresses));
        }
    }

    /// An address as it stands on an interface.
    pub(super) fn standing(&self, ifindex: u32, ip: IpAddr) -> Option<Address> {
        self.inventory.addresses(ifindex).iter().find(|address| address.ip() == ip).cloned()
    }

    /// Programs and settings of an interface that is no member any more.
    fn give_up(&mut self, member: &MemberIo) {
        let name = &member.config.name;
        let again = self.members.iter().any(|other| other.config.name == *name && !other.ungrouped);
        let Some(ifindex) = member.ifindex.filter(|_| !again && !member.ungrouped) else { return };
        if let Err(error) = self.kernel.detach(ifindex) {
            tracing::warn!(interface = name, "{error}");
        }
        if let Err(error) = self.sysctl.restore_of(name) {
            tracing::warn!(%error, interface = name, "a setting could not be put back");
        }
        tracing::info!(interface = name, "no member any more; its addresses stay as they are");
    }

    /// The applier shall not defend the addresses of groups that are gone.
    fn forget_groups(&mut self) {
        let known: Vec<GroupId> = self.engine.roster().map(|group| group.group).collect();
        let gone: Vec<GroupId> =
            self.placements.keys().copied().filter(|group| !known.contains(group)).collect();
        self.placements.retain(|group, _| known.contains(group));
        self.outbound.retain(|group, _| known.contains(group));
        self.set_hash_policy();
        if !gone.is_empty() {
            self.step(Work::Forget(gone));
        }
    }

    /// Data addresses that are configured no longer.
    pub(super) fn release(&mut self, group: GroupId, addresses: &[ipnet::IpNet]) {
        let on = self.ifindexes(group).collect();
        self.step(Work::Release { on, addresses: addresses.iter().map(ipnet::IpNet::addr).collect() });
    }

    /// Has a step taken; returns its ticket.
    pub(super) fn step(&mut self, work: Work) -> u64 {
        self.admin.tickets += 1;
        let step = Box::new(Step { ticket: self.admin.tickets, work });
        if let Err(step) = self.applier.take(step) {
            let what = "too much waits to be carried out".to_owned();
            let errors = vec![Failure { what, errno: libc::EAGAIN }];
            self.admin.refused.push(Taken { ticket: step.ticket, errors });
        }
        self.admin.tickets
    }

    /// Steps that could not even be handed over.
    pub(super) fn take_refused_steps(&mut self, now: Timestamp) {
        for taken in std::mem::take(&mut self.admin.refused) {
            self.take_step(now, &taken);
        }
    }

    pub(super) fn take_step(&mut self, now: Timestamp, taken: &Taken) {
        if self.detach_step_taken(now, taken) || self.attach_step_taken(now, taken) {
            return;
        }
        for failure in &taken.errors {
            tracing::warn!("{}", failure.what);
        }
    }
}
