//! Actions of the engine, carried out. A failure becomes an event; nothing here leaves the loop.

use std::{collections::BTreeMap, net::IpAddr};

use ipmp_common::{
    abi,
    engine::{
        action::{Action, Placement, Session},
        event::{Applied, Event},
        ids::{MemberId, SessionId},
        time::{Nanos, Timestamp},
    },
    wire::mapped,
};

use super::{Daemon, SessionIo, culprit::PutBack};
use crate::{
    announce::Announcement,
    net::{
        apply::{Failure, Job, Outcome},
        plan::{MemberLink, Wanted},
    },
};

impl Daemon {
    /// Drains the engine's actions.
    pub(super) fn act(&mut self, now: Timestamp) {
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::SendProbe { session, seq } => {
                    self.sender.queue(session, seq);
                    self.watch_decided(now, session, seq);
                }
                Action::ArmSession(session) => self.arm(now, &session),
                Action::SetLateAfter { session, late_after } => self.set_late_after(session, late_after),
                Action::DisarmSession { session } => self.disarm(session),
                Action::Discover { member, source } => self.search(member, source),
                Action::SetPlacement(placement) => self.set_placement(now, placement),
                Action::Release { group, addresses } => self.release(group, &addresses),
                Action::Announce { addresses, member } => self.announce(&addresses, member),
                Action::Publish(record) => {
                    self.counted.note(now, &record);
                    self.journal.publish(&record, &self.names);
                }
            }
        }
    }

    fn arm(&mut self, now: Timestamp, session: &Session) {
        let source_mac = self.inventory.link(session.ifindex).and_then(|link| link.mac).unwrap_or_default();
        let (token, icmp_id) = self.draw.session();
        let kernel_session = abi::Session {
            token,
            late_after_ns: session.late_after.0,
            ifindex: session.ifindex,
            icmp_id,
            family: match session.source {
                IpAddr::V4(_) => 4,
                IpAddr::V6(_) => 6,
            },
            flags: if session.notify { abi::SESSION_NOTIFY } else { 0 },
            target: mapped(session.target),
            source: mapped(session.source),
        };
        if let Err(error) = self.kernel.arm(session.session, kernel_session) {
            tracing::warn!(target = %session.target, %error, "a probe session cannot be armed");
        }
        self.sender.arm(now, session, token, icmp_id, source_mac);
        let known = SessionIo { armed: kernel_session, unseen_departures: 0 };
        self.sessions.insert(session.session, known);
    }

    fn set_late_after(&mut self, session: SessionId, late_after: Nanos) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        known.armed.late_after_ns = late_after.0;
        if let Err(error) = self.kernel.change(session, known.armed) {
            tracing::debug!(?session, %error, "late replies are counted by the earlier probe interval");
        }
    }

    fn disarm(&mut self, session: SessionId) {
        if let Err(error) = self.kernel.disarm(session) {
            tracing::warn!(?session, %error, "a probe session cannot be disarmed");
        }
        self.sender.disarm(session);
        self.sessions.remove(&session);
    }

    /// Hands a placement to the thread that carries it out.
    pub(super) fn set_placement(&mut self, now: Timestamp, placement: Placement) {
        let group = placement.group;
        self.tell_what_stays(now, &placement);
        let wanted = self.wanted(&placement);
        let neighbours =
            wanted.members.iter().flat_map(|member| self.inventory.neighbours_on(member.ifindex)).collect();
        let job = Job { group, epoch: placement.epoch, wanted, neighbours };
        if self.applier.submit(Box::new(job)).is_err() {
            tracing::warn!("a placement waits: earlier ones are still being carried out");
            self.reassert.postponed(now);
        }
        self.placements.insert(group, placement);
    }

    /// What a placement means for the interfaces as they are now.
    pub(super) fn wanted(&self, placement: &Placement) -> Wanted {
        let group = placement.group;
        let members = || self.members.iter().filter(|member| member.group == group);
        Wanted {
            members: members()
                .filter(|member| !member.is_withheld())
                .filter_map(|member| Some(MemberLink { group, member: member.id, ifindex: member.ifindex? }))
                .collect(),
            data: placement.data.clone(),
            test: members()
                .filter(|member| !member.leaving)
                .flat_map(|member| member.config.test.iter().map(|address| (member.id, *address)))
                .collect(),
            unusable: placement.unusable.clone(),
            outbound: placement.outbound.clone(),
            failed: placement.failed.clone(),
            withdrawn: members().filter(|_| placement.withdrawn).map(|member| member.id).collect(),
        }
    }

    /// Asks all hosts on a member's link to show themselves. They resolve our address in order to answer, and so
    /// the kernel learns theirs: the neighbour table tells who is there.
    fn search(&mut self, member: MemberId, source: IpAddr) {
        let member = self.members.get(member.0 as usize);
        let link = member.and_then(|member| self.inventory.link(member.ifindex?));
        let Some((link, mac)) = link.and_then(|link| Some((link, link.mac?))) else { return };
        let (token, icmp_id) = self.draw.session();
        if let Err(error) = self.sender.ask_all(link.ifindex, mac, source, token, icmp_id) {
            tracing::debug!(interface = link.name, %error, "hosts on the link could not be asked");
        }
    }

    fn announce(&mut self, addresses: &[IpAddr], member: MemberId) {
        let link = self
            .members
            .get(member.0 as usize)
            .and_then(|member| member.ifindex)
            .and_then(|ifindex| self.inventory.link(ifindex));
        let Some((link, mac)) = link.and_then(|link| Some((link, link.mac?))) else { return };
        let announcement = |ip: &IpAddr| Announcement { ifindex: link.ifindex, mac, ip: *ip };
        let announcements: Vec<Announcement> = addresses.iter().map(announcement).collect();
        if let Err(error) = self.announcer.send(&announcements) {
            tracing::warn!(%error, interface = link.name, "addresses could not be announced");
        }
    }

    /// Results of placements that were carried out meanwhile.
    pub(super) fn gather_outcomes(&mut self, now: Timestamp) {
        while let Ok(outcome) = self.applier.outcomes.try_recv() {
            self.take_outcome(now, outcome);
        }
    }

    pub(super) fn take_outcome(&mut self, now: Timestamp, outcome: Outcome) {
        self.note_detach_outcome(&outcome);
        let Outcome {
            group,
            epoch,
            applied_at,
            announced_at,
            changes,
            errors,
            outbound,
            left_alone,
            moved: _,
            foreseen,
        } = outcome;
        tracing::debug!(?group, epoch, changes, foreseen, "a placement was carried out");
        self.note_left_alone(group, left_alone);
        if let Some(outbound) = outbound {
            self.note_outbound(group, outbound);
        }
        let entirely = errors.is_empty();
        self.reassert.carried_out(now, group, entirely);
        if self.reassert.compared(group, epoch, changes, entirely) {
            let members: Vec<u32> = self.ifindexes(group).collect();
            self.culprits.put_back(PutBack::new(now, group, changes, members));
        }
        for Failure { what, errno } in errors {
            self.engine.handle(now, Event::ApplyFailed { group, epoch, what, errno });
        }
        self.engine.handle(now, Event::Applied(Applied { group, epoch, applied_at, announced_at, changes }));
        // While a newer placement is under way the kernel has better to do than to count.
        if self.placements.get(&group).is_none_or(|placement| placement.epoch == epoch) {
            self.count_after(group);
            self.foresight.settled(group);
        }
    }

    /// Tells what was put back, once it is known who had changed it.
    pub(super) fn tell_put_backs(&mut self, now: Timestamp) {
        for (PutBack { group, changes, .. }, by) in self.culprits.told(now) {
            self.engine.handle(now, Event::PutBack { group, changes, by });
        }
    }

    /// Notes who else changed something of members.
    pub(super) fn note_authors(&mut self, now: Timestamp) {
        for author in self.monitor.authors() {
            let of = |ifindex| self.members.iter().find(|member| member.ifindex == Some(ifindex));
            let concerned = author.ifindex.is_none_or(|ifindex| of(ifindex).is_some_and(|m| !m.leaving));
            if concerned && author.port != self.applier.port {
                self.culprits.note(now, author);
            }
        }
    }

    /// Addresses or routes changed; perhaps not by us.
    pub(super) fn note_foreign_change(&mut self, now: Timestamp, ifindex: Option<u32>) {
        let ours =
            ifindex.is_none_or(|ifindex| self.members.iter().any(|member| member.ifindex == Some(ifindex)));
        if ours {
            // What may be ordered next is told in answer to the outcome.
            self.reassert.changed(now);
        } else {
            self.foresight.changed(now);
        }
    }

    /// Asserts the wanted state again if that is due.
    pub(super) fn reassert(&mut self, now: Timestamp) {
        if !self.reassert.is_due(now) {
            return;
        }
        let placements: BTreeMap<_, _> = std::mem::take(&mut self.placements);
        for placement in placements.into_values() {
            self.set_placement(now, placement);
        }
    }
}
