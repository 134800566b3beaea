//! A history under way: the two storages, the time, and the sessions that have been seen.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::sample::Index;
use serde_json::json;
use session_manager_core::clock::after;
use session_manager_core::storage::{
    Advance, BumpTarget, Consistency, OnLimit, OnceKey, Purge, PurgeScope, Query, Revoke, RevokeTarget, SessionFilter,
    SessionLimit, SessionPatch, Touch, Update,
};
use session_manager_core::{
    Actor, Control, DeviceKind, Result, RevocationReason, Seed, SessionKey, SessionRecord, SessionStorage, Snapshot,
    UserId,
};

use super::compare::{self, answer, equal};
use super::operation::{Boundary, Filter, Flavour, Operation, Patch, USERS};
use crate::SessionBuilder;
use crate::conformance::Ability;
use crate::fixture::{Fixture, user};

const COUNTRIES: [&str; 3] = ["DE", "FR", "US"];
const KINDS: [DeviceKind; 3] = [DeviceKind::Desktop, DeviceKind::Phone, DeviceKind::Unknown];
const NETS: [&str; 3] = ["192.0.2.0/24", "192.0.2.1/32", "2001:db8::/32"];
const ADDRESSES: [&str; 3] = ["192.0.2.1", "192.0.2.2", "2001:db8::1"];

/// The outcome of a step: `Err` says how the storages differ.
type Step = Result<(), String>;

pub(super) struct World {
    subject: Arc<dyn SessionStorage>,
    reference: Arc<dyn SessionStorage>,
    /// The clock and the randomness; its storage is the reference.
    lab: Fixture,
    /// As inserted: everything that is needed to ask again.
    known: Vec<SessionRecord>,
}

/// Asks both storages the same and compares what they say.
macro_rules! both {
    ($world:ident, $storage:ident => $call:expr, $reduce:expr) => {{
        let $storage = &*$world.subject;
        let theirs = answer(&$call.await, $reduce);
        let $storage = &*$world.reference;
        let ours = answer(&$call.await, $reduce);
        equal(&theirs, &ours)
    }};
}

impl World {
    /// A world in which all users but the last have signed in once.
    pub(super) async fn new(subject: Arc<dyn SessionStorage>, reference: Arc<dyn SessionStorage>) -> Self {
        let lab = Fixture::new(Arc::clone(&reference));
        let mut world = Self { subject, reference, lab, known: Vec::new() };
        for number in 0..USERS - 1 {
            let record = world.lab.session(&named(number)).record();
            world.login(record, 1, OnLimit::Unlimited).await.expect("the first sign-ins agree");
        }
        world
    }

    fn now(&self) -> DateTime<Utc> {
        self.lab.now()
    }

    fn pick(&self, which: Index) -> &SessionRecord {
        which.get(&self.known)
    }

    /// How a session stands according to the reference.
    async fn current(&self, which: Index) -> Option<Snapshot> {
        self.lab.find(self.pick(which).session.key()).await
    }

    fn has(&self, ability: Ability) -> bool {
        ability.of(&*self.subject)
    }

    /// Lives through one operation with both storages.
    pub(super) async fn perform(&mut self, operation: &Operation) -> Step {
        let now = self.now();
        match operation {
            Operation::Login { user, max, on_limit, flavour } => {
                let record = self.flavoured(*user, flavour).record();
                let on_limit = if self.has(Ability::Cap) { *on_limit } else { OnLimit::Unlimited };
                self.login(record, *max, on_limit).await
            }
            Operation::LoginAgain { which, other_seed } => {
                let mut record = self.pick(*which).clone();
                if *other_seed {
                    let seed = Seed::from_bytes([9; 32]);
                    record.control = Control::new(seed, record.session.created_at, record.control.idle_expires_at);
                }
                let insert = self.lab.insert_of(record);
                both!(self, storage => storage.insert(&insert), compare::insert)
            }
            Operation::Refresh { which, offset, grace_millis } => {
                let generation = self.current(*which).await.map_or(1, |one| one.control.generation);
                let presented = generation.saturating_add_signed(*offset);
                let grace = Duration::from_millis(*grace_millis);
                let advance = Advance::new(self.pick(*which).session.key(), presented, grace, now);
                both!(self, storage => storage.advance(&advance), compare::advance)
            }
            Operation::Update { which, stale, patch } => {
                let version = self.current(*which).await.map_or(1, |one| one.control.version);
                let version = if *stale { version.saturating_sub(1) } else { version };
                let update = Update::new(self.pick(*which).session.key(), version, self.patch(patch), now);
                both!(self, storage => storage.update(&update), compare::update)
            }
            Operation::Touch { which, unless_millis } => {
                let batch: Vec<_> =
                    which.iter().map(|(which, back_millis)| self.touch(*which, *back_millis, *unless_millis)).collect();
                both!(self, storage => storage.touch(&batch, now), |report| compare::Answer::said(format!("{report:?}")))
            }
            Operation::ReadMany { which } => {
                let keys: Vec<_> = which.iter().map(|which| self.pick(*which).session.key()).collect();
                both!(self, storage => storage.read_many(&keys, Consistency::Latest), |found| compare::reads(found))
            }
            Operation::Once { key, millis } if self.has(Ability::RememberOnce) => {
                let key = OnceKey::parse(&format!("test:{key}")).expect("a key");
                let until = now + TimeDelta::milliseconds(*millis);
                both!(self, storage => storage.remember_once(&key, now, until), |new| compare::Answer::said(format!("new {new}")))
            }
            Operation::Once { .. } => Ok(()),
            Operation::Wait { millis } => {
                self.lab.tick(*millis);
                Ok(())
            }
            Operation::WaitFor { which, boundary, offset } => self.wait_for(*which, *boundary, *offset).await,
            _ => self.perform_on_many(operation).await,
        }
    }

    async fn perform_on_many(&self, operation: &Operation) -> Step {
        let now = self.now();
        match operation {
            Operation::RevokeOne { which, owner } => {
                let key = self.pick(*which).session.key();
                self.revoke(RevokeTarget::One { key, owner: owner.map(named) }).await
            }
            Operation::RevokeUser { user, except } => {
                let except = except.map(|which| self.pick(which).session.id);
                self.revoke(RevokeTarget::User { user: named(*user), except }).await
            }
            Operation::RevokeExternal { which } => match &self.pick(*which).session.external {
                Some(external) if self.has(Ability::External) => {
                    self.revoke(RevokeTarget::External(external.clone())).await
                }
                _ => Ok(()),
            },
            Operation::RevokeMatching { user, filter } if user.is_some() || self.has(Ability::ListAll) => {
                self.revoke(RevokeTarget::Matching { user: user.map(named), filter: self.filter(filter) }).await
            }
            Operation::RaiseUser { user, keep, expected, anew } if self.has(Ability::Epochs) => {
                let user = named(*user);
                let version = self.reference.epochs(Some(&user)).await.unwrap().user.map(|epoch| epoch.version);
                let keep = keep.map(|which| self.pick(which).session.id);
                self.raise(BumpTarget::User { user, keep }, version, *expected, *anew).await
            }
            Operation::RaiseGlobal { grace_millis, expected, anew } if self.has(Ability::Epochs) => {
                let version = self.reference.epochs(None).await.unwrap().global.map(|global| global.epoch.version);
                let grace = Duration::from_millis(*grace_millis);
                self.raise(BumpTarget::Global { grace }, version, *expected, *anew).await
            }
            Operation::List { user, filter, limit } if user.is_some() || self.has(Ability::ListAll) => {
                self.list(user.map(named), self.filter(filter), *limit).await
            }
            Operation::PurgeEnded { back_millis } if self.has(Ability::CleanUp) => {
                self.purge(PurgeScope::EndedBefore(now - TimeDelta::milliseconds(*back_millis))).await
            }
            Operation::PurgeOne { which } => self.purge(PurgeScope::One(self.pick(*which).session.key())).await,
            Operation::PurgeUser { user } => self.purge(PurgeScope::User(named(*user))).await,
            _ => Ok(()),
        }
    }

    /// Compares everything that can be seen of both storages.
    pub(super) async fn agree_in_the_end(&self) -> Step {
        let keys: Vec<SessionKey> = self.known.iter().map(|one| one.session.key()).collect();
        both!(self, storage => storage.read_many(&keys, Consistency::Latest), |found| compare::reads(found))?;
        for number in 0..USERS {
            let user = named(number);
            both!(self, storage => storage.epochs(Some(&user)), |epochs| {
                compare::Answer::said(format!("{:?}", compare::plain(*epochs)))
            })?;
            self.list(Some(user.clone()), SessionFilter::new(), 200).await?;
            self.list(Some(user), SessionFilter::including_ended(), 3).await?;
        }
        Ok(())
    }

    async fn login(&mut self, record: SessionRecord, max: u32, on_limit: OnLimit) -> Step {
        let mut insert = self.lab.insert_of(record.clone());
        insert.limit = SessionLimit::new(max, on_limit);
        self.known.push(record);
        both!(self, storage => storage.insert(&insert), compare::insert)
    }

    fn touch(&self, which: Index, back_millis: i64, unless_millis: Option<i64>) -> Touch {
        let session = &self.pick(which).session;
        let seen = self.now() - TimeDelta::milliseconds(back_millis);
        let touch = Touch::new(session.key(), seen, session.idle_deadline(seen));
        match unless_millis {
            Some(millis) => touch.unless_seen_after(seen - TimeDelta::milliseconds(millis)),
            None => touch,
        }
    }

    async fn revoke(&self, target: RevokeTarget) -> Step {
        let revoke = Revoke::new(target.clone(), RevocationReason::BY_ADMIN, Actor::System, self.now());
        both!(self, storage => storage.revoke(&revoke), |revoked| compare::revoked(&target, revoked))
    }

    async fn raise(&self, target: BumpTarget, version: Option<u64>, expected: Option<i64>, anew: bool) -> Step {
        let mut bump = self.lab.bump_of(target);
        bump.new_incarnation = anew;
        // Open is what an expectation means of a record that does not exist, and one below the first version.
        bump.expected = version.zip(expected).map(|(version, offset)| version.saturating_add_signed(offset).max(1));
        both!(self, storage => storage.bump(&bump), compare::bump)
    }

    async fn list(&self, user: Option<UserId>, filter: SessionFilter, limit: u32) -> Step {
        let now = self.now();
        let query = user.map_or_else(|| Query::everybody(now), |user| Query::of(user, now));
        let mut query = query.filtered(filter).limited(limit);
        let exact = self.subject.count(&query).await.map_or(true, |count| count.exact);
        if exact {
            both!(self, storage => storage.count(&query), |count| compare::Answer::said(format!("{count:?}")))?;
        }
        loop {
            both!(self, storage => storage.list(&query), compare::page)?;
            // Both must accept their own cursors; that they agree on where they lead is the next comparison.
            match self.subject.list(&query).await.ok().and_then(|page| page.next) {
                Some(next) => query = query.after(Some(next)),
                None => return Ok(()),
            }
        }
    }

    async fn purge(&self, scope: PurgeScope) -> Step {
        // Which ones go first is open, so all go.
        let purge = Purge::new(scope, 10_000, self.now());
        both!(self, storage => storage.purge(&purge), compare::purged)
    }

    async fn wait_for(&self, which: Index, boundary: Boundary, offset: i64) -> Step {
        let Some(current) = self.current(which).await else {
            return Ok(());
        };
        let moment = match boundary {
            Boundary::Idle => Some(current.control.idle_expires_at),
            Boundary::Absolute => Some(current.session.expires_at),
            Boundary::Grace => Some(after(current.control.rotated_at, Duration::from_secs(10))),
            Boundary::GlobalGrace => current.epochs.global.and_then(|global| global.grace_until),
            Boundary::Trust => current.session.trusted_until,
        };
        // Time does not go back: what a storage has collected as garbage since is open then.
        if let Some(moment) = moment.map(|moment| moment + TimeDelta::milliseconds(offset))
            && moment > self.now()
        {
            self.lab.set(moment, 0);
        }
        Ok(())
    }

    fn flavoured(&self, number: usize, flavour: &Flavour) -> SessionBuilder {
        let kind = usize::from(flavour.kind);
        let mut session = self.lab.session(&named(number));
        session = session.lifetime(Duration::from_millis(flavour.lifetime_millis));
        session = session.idle(flavour.idle_millis.map(Duration::from_millis));
        if kind < 3 {
            session = session.device(KINDS[kind]).ip(ADDRESSES[kind]).place(COUNTRIES[kind], "Berlin");
        }
        if let Some(millis) = flavour.trusted_millis {
            session = session.trusted((millis > 0).then(|| self.now() + TimeDelta::milliseconds(millis)));
        }
        match flavour.external {
            Some(sid) if self.has(Ability::External) => session.external(&format!("sid {sid}")),
            _ => session,
        }
    }

    fn patch(&self, patch: &Patch) -> SessionPatch {
        let mut made = SessionPatch::new();
        made.device_name = patch.name.then(|| Some("Küche".to_owned()));
        made.trust = patch.trust.map(|trusted| (trusted, trusted.then(|| after(self.now(), Duration::from_secs(9)))));
        made.attributes = if patch.attributes { json!({"cart": [1, "ü"]}).as_object().cloned() } else { None };
        made.raise_floor = patch.floor;
        made
    }

    fn filter(&self, filter: &Filter) -> SessionFilter {
        let mut made = if filter.active_only { SessionFilter::new() } else { SessionFilter::including_ended() };
        made.device = filter.device.map(|at| KINDS[usize::from(at)]);
        made.ip = filter.net.map(|at| NETS[usize::from(at)].parse().expect("a network"));
        made.country = filter.country.map(|at| COUNTRIES[usize::from(at)].to_owned());
        made.is_trusted = filter.trusted;
        if let Some((which, from)) = filter.created {
            let born = Some(self.pick(which).session.created_at);
            if from { made.created_after = born } else { made.created_before = born }
        }
        made.last_activity_before = filter.seen_before.map(|which| self.pick(which).control.last_activity);
        made
    }
}

fn named(number: usize) -> UserId {
    user(["alice", "bob", "carol", "dora"][number])
}
