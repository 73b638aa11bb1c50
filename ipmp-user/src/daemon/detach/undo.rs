//! The way back of a detach that failed: the same steps, last first. None is left out because another one failed.

use ipmp_common::engine::{
    event::{Command, Event},
    ids::MemberId,
    time::Timestamp,
};

use super::{Leaving, Stage};
use crate::{
    control::{
        Response,
        protocol::{Refusal, RefusalCode},
    },
    daemon::{Daemon, clock, reload::answer, settling::Settling},
    net::apply::{Failure, Work},
};

impl Daemon {
    /// Turns back where it is now, because of what is said.
    pub(super) fn undo(&mut self, said: &str) {
        let Some(detaching) = &mut self.admin.detaching else { return };
        detaching.cause = Some(format!("{}: {said}", detaching.stage.words()));
        let down = detaching.leaving.iter().rev().filter(|one| one.set_down);
        let works = down.map(|one| Work::SetLink { ifindex: one.ifindex, up: true }).collect();
        self.detach_step(Stage::LinkUp, works);
    }

    pub(super) fn links_up(&mut self) {
        let Some(detaching) = &mut self.admin.detaching else { return };
        for one in detaching.leaving.iter().rev().filter(|one| one.bare) {
            if let Err(error) = self.sysctl.prepare(&one.name) {
                let what = format!("settings of {}: {error}", one.name);
                detaching.errors.push(Failure { what, errno: error.errno() });
            }
            self.kernel.attach(one.ifindex, &one.name);
            if let Some(member) = self.members.iter_mut().find(|member| Some(member.id) == one.member) {
                member.settling = Some(Settling::new(clock::now(), false));
            }
        }
        let work = Work::Restore(detaching.removed.clone());
        self.detach_step(Stage::TestAddressesBack, vec![work]);
    }

    /// The engine is told last: probes need the test addresses, and data addresses a link that is up.
    pub(super) fn test_addresses_back(&mut self, now: Timestamp) {
        let Some(detaching) = &mut self.admin.detaching else { return };
        detaching.stage = Stage::Back;
        for one in detaching.leaving.iter().rev() {
            let Some(member) = self.members.iter_mut().find(|member| Some(member.id) == one.member) else {
                continue;
            };
            member.leaving = false;
            // What netlink told meanwhile was not passed on.
            let news = self.inventory.link(one.ifindex).and_then(|link| member.link_news(now, link));
            if let Some(event) = news {
                self.engine.handle(now, event);
            }
            self.engine.handle(now, Event::Command(one.as_it_was(member.id)));
        }
    }

    pub(super) fn undone(&mut self) {
        let Some(mut detaching) = self.admin.detaching.take() else { return };
        let names: Vec<&str> = detaching.leaving.iter().map(|one| one.name.as_str()).collect();
        let mut errors: Vec<&str> = Vec::new();
        for failure in &detaching.errors {
            // A placement may have been tried twice.
            if !errors.contains(&failure.what.as_str()) {
                errors.push(&failure.what);
            }
        }
        let back = if errors.is_empty() {
            "the previous configuration is restored".to_owned()
        } else {
            format!("the previous configuration is restored, except: {}", errors.join("; "))
        };
        let cause = detaching.cause.take().unwrap_or_default();
        let text = format!("{}: detach failed at {cause}; {back}", names.join(", "));
        tracing::error!("{text}");
        // Routes that went with the link come back with the next look.
        self.reassert.postponed(clock::now());
        answer(detaching.reply.take(), Response::Refused(Refusal::new(RefusalCode::Failed, text)));
    }
}

impl Leaving {
    const fn as_it_was(&self, member: MemberId) -> Command {
        if self.was_offline { Command::Offline { member, force: true } } else { Command::Online { member } }
    }
}
