//! What must hold at all times, in words that share no code with the engine.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::engine::{
    action::{Action, Session},
    ids::{MemberId, SessionId},
    reason::{Kind, Reason, Record},
    snapshot::{GroupSnapshot, ShownState, Snapshot},
    time::Timestamp,
};

/// Remembers the turn before and every session.
#[derive(Debug, Default)]
pub(super) struct Watch {
    before: Vec<GroupSnapshot>,
    sessions: BTreeMap<SessionId, Session>,
    last_seq: BTreeMap<SessionId, u64>,
}

const fn usable(state: ShownState) -> bool {
    match state {
        ShownState::Ok | ShownState::Unknown => true,
        ShownState::Failed | ShownState::Offline | ShownState::Absent => false,
    }
}

/// Kinds that explain a change of a member's state, of its activity, or of a place.
const fn explains(kind: Kind) -> bool {
    match kind {
        Kind::Failed
        | Kind::Repaired
        | Kind::Activity
        | Kind::Offline
        | Kind::Online
        | Kind::Absent
        | Kind::Present
        | Kind::Probing
        | Kind::Reconfigured => true,
        Kind::LinkDown
        | Kind::LinkUp
        | Kind::Moved
        | Kind::Announced
        | Kind::GroupState
        | Kind::Stalled
        | Kind::Mute
        | Kind::Target
        | Kind::Withdrawn
        | Kind::ActionFailed
        | Kind::Flapping
        | Kind::Deferred
        | Kind::Inconsistent
        | Kind::Consistent
        | Kind::DetectionTime
        | Kind::Missing
        | Kind::Renamed
        | Kind::LeftAlone
        | Kind::PutBack
        | Kind::Errors
        | Kind::TargetSlow => false,
    }
}

impl Watch {
    /// Sessions: armed once, probed only while armed, sequence numbers 1, 2, 3, …
    pub(super) fn before(&mut self, action: &Action) {
        match action {
            Action::ArmSession(session) => {
                let known = self.sessions.insert(session.session, session.clone());
                assert!(known.is_none(), "session {session:?} was armed while in use: {known:?}");
                self.last_seq.insert(session.session, 0);
            }
            Action::DisarmSession { session } => {
                assert!(self.sessions.remove(session).is_some(), "{session:?} was not armed");
            }
            Action::SendProbe { session, seq } => {
                assert!(self.sessions.contains_key(session), "probe on {session:?}, which is not armed");
                let last = self.last_seq.insert(*session, *seq);
                assert_eq!(last.map(|last| last + 1), Some(*seq), "sequence of {session:?}");
            }
            Action::SetLateAfter { session, late_after } => {
                let armed = self.sessions.get_mut(session).expect("only what is armed is changed");
                armed.late_after = *late_after;
            }
            Action::SetPlacement(placement) => {
                let mut addresses: Vec<_> = placement.data.iter().map(|placed| placed.address).collect();
                addresses.sort_unstable();
                let all = addresses.len();
                addresses.dedup();
                assert_eq!(addresses.len(), all, "an address has two owners: {placement:?}");
            }
            Action::Discover { .. }
            | Action::Release { .. }
            | Action::Announce { .. }
            | Action::Publish(_) => {}
        }
    }

    pub(super) fn session(&self, session: SessionId) -> Option<&Session> {
        self.sessions.get(&session)
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    pub(super) fn armed(&self) -> usize {
        self.sessions.len()
    }

    /// Checks the state at the end of a turn against the state before and the actions in between.
    pub(super) fn after_turn(&mut self, snapshot: &Snapshot, actions: &[(Timestamp, Action)]) {
        let records: Vec<&Record> = actions.iter().filter_map(|(_, action)| record(action)).collect();
        for record in &records {
            assert!(record.at == snapshot.at, "a record of another time: {record:?}");
        }
        for group in &snapshot.groups {
            placed_on_usable(group);
        }
        let known = |group: &&GroupSnapshot| self.before.iter().find(|before| before.group == group.group);
        for (before, group) in snapshot.groups.iter().filter_map(|group| Some((known(&group)?, group))) {
            explained(before, group, &records);
            placement_follows(before, group, actions);
        }
        self.before.clone_from(&snapshot.groups);
    }
}

fn record(action: &Action) -> Option<&Record> {
    match action {
        Action::Publish(record) => Some(record),
        Action::SendProbe { .. }
        | Action::ArmSession(_)
        | Action::SetLateAfter { .. }
        | Action::DisarmSession { .. }
        | Action::SetPlacement(_)
        | Action::Discover { .. }
        | Action::Release { .. }
        | Action::Announce { .. } => None,
    }
}

/// No address on a member that may not carry it while another one may.
fn placed_on_usable(group: &GroupSnapshot) {
    let someone = group.members.iter().any(|member| usable(member.state));
    assert_eq!(someone, group.members.iter().any(|member| member.active), "usable but idle: {group:?}");
    for address in group.addresses.iter().filter(|_| someone) {
        let host = group.members.iter().find(|member| member.member == address.on);
        let host = host.expect("an address is on a member of its group");
        let awaited = matches!(host.deferred, Some(Reason::Awaited { .. }));
        assert!(awaited || usable(host.state) && host.active, "{address:?} is stranded on {host:?}");
    }
}

/// No change without a published record of that member.
fn explained(before: &GroupSnapshot, after: &GroupSnapshot, records: &[&Record]) {
    let tells = |member: MemberId| {
        records.iter().any(|record| record.member == Some(member) && explains(record.kind))
    };
    for new in &after.members {
        let Some(old) = before.members.iter().find(|old| old.member == new.member) else { continue };
        let changed = old.state != new.state || old.active != new.active;
        assert!(
            !changed || tells(new.member) || (old.ifindex == 0 && new.ifindex != 0),
            "{:?} went from {:?} (active {}) to {:?} (active {}) without a word: {records:?}",
            new.name,
            old.state,
            old.active,
            new.state,
            new.active,
        );
    }
    let moved = before.addresses.iter().zip(&after.addresses).any(|(old, new)| old.on != new.on);
    // A family that a member can no longer, or again, carry is a reason to move, though not one to fail.
    let fit = |kind| matches!(kind, Kind::Inconsistent | Kind::Consistent);
    let reason = records.iter().any(|record| explains(record.kind) || fit(record.kind));
    assert!(!moved || reason, "moved without a reason");
    let told =
        records.iter().any(|record| record.kind == Kind::GroupState && record.group == Some(after.group));
    assert!(before.state == after.state || told, "group state changed without a word");
}

/// Places change by a `SetPlacement` that says so, and by nothing else.
fn placement_follows(before: &GroupSnapshot, after: &GroupSnapshot, actions: &[(Timestamp, Action)]) {
    let asked = actions.iter().rev().find_map(|(_, action)| match action {
        Action::SetPlacement(placement) => (placement.group == after.group).then_some(placement),
        Action::SendProbe { .. }
        | Action::ArmSession(_)
        | Action::SetLateAfter { .. }
        | Action::DisarmSession { .. }
        | Action::Discover { .. }
        | Action::Release { .. }
        | Action::Announce { .. }
        | Action::Publish(_) => None,
    });
    let places: Vec<_> = after.addresses.iter().map(|address| (address.address, address.on)).collect();
    match asked {
        Some(placement) => {
            let wanted: Vec<_> = placement.data.iter().map(|placed| (placed.address, placed.on)).collect();
            assert_eq!(wanted, places);
        }
        None => assert_eq!(before.addresses, after.addresses, "moved without an action"),
    }
}
