//! People with devices: what they do at every step, and what each device has to find at every node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use session_manager_core::storage::SessionFilter;
use session_manager_core::{
    Error, ErrorKind, ExternalId, ManualClock, NewSession, RevocationReason, Rotation, SessionId, State, TokenPair,
};
use session_manager_tests::bed::{Bed, firefox, user};

/// How a user of this name loses sessions or tokens, at the step that the name's number is.
const KINDS: [&str; 9] = ["one", "others", "all", "upstream", "rotated", "password", "replayed", "raised", "forgotten"];

/// As many steps as a move may take.
const STEPS: u32 = 7;

/// How long sessions live on after everybody was rotated.
const DRILL: Duration = Duration::from_hours(1);

struct Device {
    user: String,
    id: SessionId,
    tokens: TokenPair,
    lives: bool,
    /// Whether it has a session of after everybody's rotation.
    is_after_the_drill: bool,
}

/// Everybody.
pub(crate) struct Crowd {
    clock: Arc<ManualClock>,
    devices: Vec<Device>,
    /// At which step everybody is rotated.
    drill: u32,
    is_after_the_drill: bool,
}

impl Crowd {
    /// Signs everybody in.
    pub(crate) async fn gather(node: &Bed, clock: Arc<ManualClock>, drill: u32) -> Self {
        let mut crowd = Self { clock, devices: Vec::new(), drill, is_after_the_drill: false };
        for name in ["quiet", "quiet", "sleeper", "sleeper", "crowded", "crowded", "crowded"] {
            crowd.sign_in(node, name).await;
        }
        for step in 1..=STEPS {
            for kind in KINDS {
                crowd.sign_in(node, &format!("{kind} {step}")).await;
            }
        }
        crowd
    }

    /// What happens while these nodes are in use. The last of them is of the newest release.
    pub(crate) async fn live_through(&mut self, step: u32, nodes: &[&Bed]) {
        // Long enough that activity is written down.
        self.clock.advance(Duration::from_secs(61));
        let newest = nodes[nodes.len() - 1];
        self.look(&[newest]).await;
        let node = |number: usize| nodes[number % nodes.len()];
        let turn = usize::try_from(step).unwrap();
        for number in 0..2 {
            self.sign_in(node(turn + number), "crowded").await;
        }
        for (number, kind) in KINDS.into_iter().enumerate() {
            self.sign_in(node(number), &format!("{kind} {}", step + 1)).await;
        }
        self.refresh(nodes).await;
        if step == self.drill {
            let rotation = Rotation::new("drill").grace(DRILL);
            node(turn).manager.rotate_all(&rotation, &firefox()).await.unwrap();
            self.is_after_the_drill = true;
        }
        for (number, kind) in KINDS.into_iter().enumerate() {
            // A removal leaves nothing behind that a copy could bring along: nodes that write one storage only must not make it.
            let node = if kind == "forgotten" { newest } else { node(turn + number) };
            self.end(node, kind, &format!("{kind} {step}")).await;
        }
        self.look(nodes).await;
    }

    /// The grace of everybody's rotation runs out, and whoever slept through everything wakes up.
    pub(crate) async fn come_to_an_end(mut self, node: &Bed) {
        self.look(&[node]).await;
        self.refresh(&[node]).await;
        for at in 0..self.devices.len() {
            if self.devices[at].user == "sleeper" {
                self.refresh_one(node, at).await.unwrap();
            }
        }
        self.clock.advance(DRILL);
        assert!(
            self.is_after_the_drill && self.devices.iter().any(|device| device.lives && !device.is_after_the_drill)
        );
        for at in 0..self.devices.len() {
            let device = &self.devices[at];
            let (user, lives, is_after) = (device.user.clone(), device.lives, device.is_after_the_drill);
            let outcome = self.refresh_one(node, at).await.map_err(|error| error.kind());
            match (lives, is_after) {
                (true, true) => assert!(outcome.is_ok(), "{user}: {outcome:?}"),
                (true, false) => assert_eq!(outcome, Err(ErrorKind::SessionEnded(State::RotatedOut)), "{user}"),
                (false, _) => assert!(outcome.is_err(), "{user}"),
            }
        }
    }

    async fn sign_in(&mut self, node: &Bed, name: &str) {
        let mut new = NewSession::of(user(name)).by(["pwd"]);
        if name.starts_with("upstream") {
            new = new.external(ExternalId { issuer: "https://idp.test".into(), sid: name.into() });
        }
        let created = node.manager.create(new, &firefox()).await.unwrap();
        for evicted in &created.evicted {
            self.dies(evicted.session.id);
        }
        assert!(name == "crowded" || created.evicted.is_empty(), "{name}");
        self.devices.push(Device {
            user: name.to_owned(),
            id: created.snapshot.session.id,
            tokens: created.tokens,
            lives: true,
            is_after_the_drill: self.is_after_the_drill,
        });
    }

    fn dies(&mut self, id: SessionId) {
        let device = self.devices.iter_mut().find(|device| device.id == id).expect("a session of the crowd's");
        assert!(device.lives, "{} ends once", device.user);
        device.lives = false;
    }

    async fn refresh_one(&mut self, node: &Bed, at: usize) -> Result<(), Error> {
        let device = &mut self.devices[at];
        let refreshed = node.manager.refresh(device.tokens.refresh.expose(), &firefox()).await?;
        device.tokens = refreshed.tokens;
        Ok(())
    }

    /// Every device that is awake gets new tokens; its second tab, at the other node, gets the same.
    async fn refresh(&mut self, nodes: &[&Bed]) {
        for at in 0..self.devices.len() {
            if !self.devices[at].lives || self.devices[at].user == "sleeper" {
                continue;
            }
            let before = self.devices[at].tokens.refresh.clone();
            let refreshed = self.refresh_one(nodes[at % nodes.len()], at).await;
            refreshed.unwrap_or_else(|error| panic!("{} is signed out: {error:?}", self.devices[at].user));
            let tab = nodes[(at + 1) % nodes.len()].manager.refresh(before.expose(), &firefox()).await.unwrap();
            assert!(tab.converged && tab.tokens.refresh == self.devices[at].tokens.refresh);
        }
    }

    /// Every device finds at every node what it has to find.
    async fn look(&self, nodes: &[&Bed]) {
        for node in nodes {
            for device in &self.devices {
                let name = &device.user;
                let view = node.manager.get(None, device.id).await.unwrap();
                let state = view.map(|view| view.state);
                assert_eq!(state.is_some_and(State::is_live), device.lives, "{name}: {state:?}");
                if !device.lives {
                    let refused = node.manager.refresh(device.tokens.refresh.expose(), &firefox()).await.unwrap_err();
                    let kind = refused.kind();
                    let is_over = matches!(kind, ErrorKind::SessionEnded(_) | ErrorKind::InvalidToken(_));
                    assert!(is_over, "{name}: {kind:?}");
                } else if name != "sleeper" {
                    assert_eq!(node.access(&device.tokens.access).await, Ok(()), "{name}");
                }
            }
            let names: BTreeSet<&str> = self.devices.iter().map(|device| device.user.as_str()).collect();
            for name in names {
                let page = node.manager.list(&user(name), SessionFilter::new(), None, 50).await.unwrap();
                let listed: BTreeSet<SessionId> = page.sessions.iter().map(|view| view.snapshot.session.id).collect();
                assert_eq!(listed, self.of(name).map(|at| self.devices[at].id).collect(), "{name}");
            }
        }
    }

    /// The devices of a user whose sessions live, the oldest first.
    fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = usize> + 'a {
        (0..self.devices.len()).filter(move |at| self.devices[*at].lives && self.devices[*at].user == name)
    }

    /// Something ends.
    async fn end(&mut self, node: &Bed, kind: &str, name: &str) {
        let (manager, context) = (&node.manager, firefox());
        let theirs: Vec<usize> = self.of(name).collect();
        let ids: Vec<SessionId> = theirs.iter().map(|at| self.devices[*at].id).collect();
        let (at, first) = (theirs[0], ids[0]);
        let who = user(name);
        let mut gone = ids.clone();
        match kind {
            "one" => {
                manager.revoke(Some(&who), first, RevocationReason::BY_USER, &context).await.unwrap();
                gone = vec![first];
            }
            "others" => {
                let ended = manager.revoke_others(&who, first, RevocationReason::OTHERS, &context).await.unwrap();
                assert_eq!(ended.len(), ids.len() - 1);
                gone.remove(0);
            }
            "all" => {
                manager.revoke_all(&who, RevocationReason::ALL, &context).await.unwrap();
            }
            "upstream" => {
                let external = ExternalId { issuer: "https://idp.test".into(), sid: name.into() };
                let reason = RevocationReason::UPSTREAM_LOGOUT;
                assert_eq!(manager.revoke_external(external, reason, &context).await.unwrap().len(), ids.len());
            }
            "rotated" => drop(manager.rotate_user(&who, &Rotation::new("lost a phone"), &context).await.unwrap()),
            "password" => {
                let rotation = Rotation::new("password changed").keeping(first);
                let kept = manager.rotate_user(&who, &rotation, &context).await.unwrap().kept.unwrap();
                self.is_superseded(node, at, kept.tokens).await;
                self.devices[at].is_after_the_drill = self.is_after_the_drill;
                gone.remove(0);
            }
            "replayed" => {
                let stolen = self.devices[at].tokens.refresh.clone();
                self.refresh_one(node, at).await.unwrap();
                self.clock.advance(Duration::from_secs(11));
                let replay = manager.refresh(stolen.expose(), &context).await.unwrap_err();
                assert_eq!(replay.kind(), ErrorKind::ReplayDetected);
                gone = vec![first];
            }
            "raised" => {
                let raised = manager.reauthenticate(first, &["pwd", "otp"], None, &context).await.unwrap();
                self.is_superseded(node, at, raised.tokens).await;
                gone.clear();
            }
            _ => {
                manager.forget(&who, &context).await.unwrap();
            }
        }
        for id in gone {
            self.dies(id);
        }
    }

    /// The session lives on, with these tokens and no older ones.
    async fn is_superseded(&mut self, node: &Bed, at: usize, tokens: TokenPair) {
        let old = std::mem::replace(&mut self.devices[at].tokens, tokens);
        assert_eq!(node.access(&old.access).await, Err(ErrorKind::Superseded), "{}", self.devices[at].user);
    }
}
