//! Taking interfaces up while the daemon runs: by hand, and when they come back.

use std::sync::Arc;

use ipmp_common::engine::{
    config::{DataAddresses, InterfaceConfig},
    time::Timestamp,
};

use super::{
    Daemon,
    members::{MemberIo, port_of},
    reload::{Purpose, Reply, Source, answer, beside},
};
use crate::{
    config::{self, ConfigError, Entry},
    control::{
        Response,
        protocol::{Attach, Refusal, RefusalCode},
    },
    net::apply::{Taken, Work},
};

/// An attach that waits for its interface to come up.
#[derive(Debug)]
pub(super) struct Attaching {
    ticket: u64,
    wanted: Attach,
    source: Source,
    reply: Reply,
}

mod persist;

impl Daemon {
    pub(super) fn attach(&mut self, now: Timestamp, wanted: &Attach, reply: Reply) {
        let interface = &self.meant(&wanted.interface);
        if let Err(refusal) = self.admin.idle(interface) {
            return answer(reply, Response::Refused(refusal));
        }
        let refused = |code, text: String| Response::Refused(Refusal::new(code, text));
        let Some(link) = self.inventory.link_by_name(interface) else {
            let text = format!("{interface}: there is no such interface: `ip link` shows those there are");
            return answer(reply, refused(RefusalCode::NotFound, text));
        };
        let grouped =
            self.members.iter().find(|member| member.config.name == *interface && !member.ungrouped);
        match (grouped, &wanted.group) {
            (None, None) if self.admin.detached.holds(link) => {
                let ifindex = link.ifindex;
                self.admin.detached.remove(interface);
                self.step(Work::SetLink { ifindex, up: true });
                answer(reply, Response::Done(format!("{interface}: is set up again; it is in no group")));
            }
            (None, None) => {
                let text = format!(
                    "{interface}: is not in the configuration: name the group it shall join with --group"
                );
                answer(reply, refused(RefusalCode::NotFound, text));
            }
            (Some(member), Some(_)) => {
                let text = format!(
                    "{interface}: is in group {} already: change the file and `ipmp reload`, or leave --group out (--persist then writes what is in force)",
                    self.names.group(member.group)
                );
                answer(reply, refused(RefusalCode::Refused, text));
            }
            (Some(member), None) if member.ifindex.is_some() => {
                self.attached_already(member, wanted.persist, reply);
            }
            (Some(_), None) => {
                self.admin.detached.remove(interface);
                self.sync_links(now, Some(0));
                if let Some(why) = self.why_not_taken(interface) {
                    let text = format!("{interface}: cannot be attached: {why}");
                    return answer(reply, refused(RefusalCode::Refused, text));
                }
                let text =
                    format!("{interface}: is attached; its addresses return once it is proved to work");
                answer(reply, Response::Done(text));
            }
            (None, Some(_)) if link.mac.is_none() => {
                let text =
                    format!("{interface}: is not Ethernet-like, so nobody could be told of its addresses");
                answer(reply, refused(RefusalCode::Refused, text));
            }
            (None, Some(_)) if self.inventory.swallower(link).is_some() => {
                let why = self.inventory.swallower(link).map(port_of).unwrap_or_default();
                answer(
                    reply,
                    refused(RefusalCode::Refused, format!("{interface}: cannot be attached: {why}")),
                );
            }
            (None, Some(group)) => self.attach_new(wanted, group, reply),
        }
    }

    /// Into the configuration in force, and into the file if so wanted; checked like any other.
    fn attach_new(&self, wanted: &Attach, group: &str, reply: Reply) {
        let entry = entry(wanted, group);
        let base = Arc::clone(&self.admin.source.text);
        let purpose = Purpose::Attach { wanted: wanted.clone(), base: Arc::clone(&base) };
        let (path, persist) = (self.admin.config_path.clone(), wanted.persist);
        let read = move || {
            let name = format!("{} with {}", path.display(), entry.interface);
            let known = || ConfigError::Known { file: name.clone(), interface: entry.interface.clone() };
            let text = entry.add_to(&String::from_utf8_lossy(&base)).ok_or_else(known)?;
            let file = config::parse(&name, text.as_bytes())?;
            if persist {
                // Asked before anything is changed; written when nothing can be refused any more.
                persist::ask(&entry, &path)?;
            }
            Ok(Source { text: text.into_bytes().into(), file })
        };
        self.admin.loader.start(read, purpose, reply);
    }

    /// Nothing to do but, if so wanted, to write what is in force into the file as well.
    fn attached_already(&self, member: &MemberIo, persist: bool, reply: Reply) {
        let InterfaceConfig { name, standby, data, test } = &member.config;
        if !persist {
            let text = format!("{name}: is attached already: nothing to do");
            return answer(reply, Response::Refused(Refusal::new(RefusalCode::Refused, text)));
        }
        let texts = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect();
        let entry = Entry {
            // That is how the file calls it, if it does.
            interface: self.admin.identities.section_of(name).unwrap_or(name).to_owned(),
            group: self.names.group(member.group),
            standby: *standby,
            data: match data {
                DataAddresses::Adopt => None,
                DataAddresses::Listed(listed) => Some(texts(listed)),
            },
            test: test.iter().map(ToString::to_string).collect(),
        };
        let path = self.admin.config_path.clone();
        beside("ipmpd-write", move || {
            let response = match persist::ask(&entry, &path).and_then(|()| persist::write(&entry, &path)) {
                Ok(()) => Response::Done(format!("{}: is in {} now", entry.interface, path.display())),
                Err(error) => {
                    let code = match error {
                        ConfigError::Known { .. } => RefusalCode::Refused,
                        ConfigError::Invalid(_) => RefusalCode::InvalidConfig,
                        ConfigError::Unreadable { .. } | ConfigError::Unwritable { .. } => {
                            RefusalCode::Failed
                        }
                    };
                    let text = error.to_string();
                    let text = format!("{}: {}", entry.interface, text.trim_start_matches("ipmp: "));
                    Response::Refused(Refusal::new(code, text))
                }
            };
            answer(reply, response);
        });
    }

    /// The configuration is good: up with the link, then in with it.
    pub(super) fn attach_configured(
        &mut self,
        now: Timestamp,
        wanted: Attach,
        base: &Arc<[u8]>,
        source: Source,
        reply: Reply,
    ) {
        if !Arc::ptr_eq(base, &self.admin.source.text) {
            // Another order came first: what was read would undo it.
            return self.attach(now, &wanted, reply);
        }
        let link = self.inventory.link_by_name(&wanted.interface);
        let down = link.filter(|link| !link.admin_up()).map(|link| link.ifindex);
        let ticket = down.map(|ifindex| self.step(Work::SetLink { ifindex, up: true }));
        let attaching = Attaching { ticket: ticket.unwrap_or(0), wanted, source, reply };
        match ticket {
            Some(_) => self.admin.attaching = Some(attaching),
            None => self.finish_attach(now, attaching),
        }
    }

    /// Whether a step was an attach's.
    pub(super) fn attach_step_taken(&mut self, now: Timestamp, taken: &Taken) -> bool {
        let Some(attaching) = self.admin.attaching.take_if(|attaching| attaching.ticket == taken.ticket)
        else {
            return false;
        };
        if let Some(failure) = taken.errors.first() {
            let text = format!("{}: cannot be attached: {}", attaching.wanted.interface, failure.what);
            answer(attaching.reply, Response::Refused(Refusal::new(RefusalCode::Failed, text)));
            return true;
        }
        self.gather(now);
        self.finish_attach(now, attaching);
        true
    }

    fn finish_attach(&mut self, now: Timestamp, attaching: Attaching) {
        let Attaching { wanted, source, reply, .. } = attaching;
        let Attach { interface, group, persist, .. } = &wanted;
        let group = group.as_deref().unwrap_or_default();
        let is_new = !self.engine.config().groups.iter().any(|known| known.name == group);
        self.admin.detached.remove(interface);
        if let Err(refusal) = self.change_config(now, source) {
            return answer(reply, Response::Refused(refusal));
        }
        let to = if is_new { "a new group, " } else { "group " };
        let done = format!("{interface}: is attached to {to}{group}");
        let alone = if is_new { "; it is alone in it, so nothing can take over its addresses" } else { "" };
        if !persist {
            let text = format!("{done}, until the next reload or restart{alone}");
            tracing::info!("{text}");
            return answer(reply, Response::Done(text));
        }
        let (entry, path) = (entry(&wanted, group), self.admin.config_path.clone());
        beside("ipmpd-write", move || {
            if let Err(error) = persist::write(&entry, &path) {
                let error = error.to_string();
                let why = error.trim_start_matches("ipmp: ");
                let text = format!("{done}, but only until the next reload or restart{alone}; {why}");
                tracing::error!("{text}");
                return answer(reply, Response::Refused(Refusal::new(RefusalCode::Failed, text)));
            }
            let text = format!("{done}, also after a restart{alone}");
            tracing::info!("{text}");
            answer(reply, Response::Done(text));
        });
    }

    /// An interface that was detached and removed is there again, and no entry says what it shall be: it comes up, and
    /// its former addresses stay where they are.
    pub(super) fn take_back(&mut self, name: &str) {
        if !self.admin.detached.is_back(name) {
            return;
        }
        let Some(link) = self.inventory.link_by_name(name) else { return };
        let (ifindex, up) = (link.ifindex, link.admin_up());
        self.admin.detached.remove(name);
        let configured = self.members.iter().any(|member| member.config.name == name);
        if configured {
            return;
        }
        tracing::info!(
            "{name}: is back, without an entry in the configuration: it comes up, and nothing more"
        );
        if !up {
            self.step(Work::SetLink { ifindex, up: true });
        }
    }
}

/// What is to be added to a configuration.
fn entry(wanted: &Attach, group: &str) -> Entry {
    Entry {
        interface: wanted.interface.clone(),
        group: group.to_owned(),
        standby: wanted.standby,
        data: wanted.data.clone(),
        test: wanted.test.clone(),
    }
}
