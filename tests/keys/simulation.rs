//! Three years of a fleet of fifty, or a year of one of twenty, an event at a time.
//!
//! The nodes are real [`ManagedKeys`]; the store, the clocks, the visitors and everything that goes
//! wrong are made up. The checker knows which tokens are out there, what the store has held, and
//! the promises of docs/keys.md. It shares no code with the schedule, and asks no node why.
//!
//! `SIMULATION_SEEDS=1000 cargo test --release --features managed-keys --test keys simulation`
//! runs a thousand of the large ones, `SIMULATION_SEEDS=501..1000` the second half of them, and
//! `SIMULATION_SEED=7` that one. Without either, a small one is run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::env;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use sealed_session::keys::{KeyStore, KeyStoreError, KeyStoreErrorKind, Zeroizing};
use sealed_session::{CookieStore, KeyId, ManagedKeys};

const SECOND: u64 = 1000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;

const START: u64 = 1_750_000_000 * SECOND;

/// The slowest poll of any node; with jitter a quarter more.
const POLL: u64 = 3 * HOUR;
const LAG: u64 = 20 * MINUTE;
const TIMEOUT: u64 = 5 * SECOND;
/// Any two clocks differ by twice as much at most.
const SKEW: u64 = 30 * SECOND;

/// A node that heard of the store no longer ago than this has had the chance to know.
const REACH: u64 = 2 * POLL * 5 / 4 + LAG + TIMEOUT;

const SHORT: u64 = DAY;
const LONG: u64 = 3 * DAY;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn between(&mut self, start: u64, end: u64) -> u64 {
        start + self.below(end - start)
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// The store, with all that it ever held.
struct Kept {
    now: u64,
    versions: Vec<(u64, Option<Vec<u8>>)>,
    random: Random,
    cut_off: BTreeSet<usize>,
}

impl Kept {
    fn latest(&self) -> Option<Vec<u8>> {
        self.versions.last().and_then(|(_, bytes)| bytes.clone())
    }

    /// What a replica has that is a while behind.
    fn read(&mut self) -> Option<Vec<u8>> {
        let at = self.now - self.random.below(LAG);
        let seen = self.versions.iter().rev().find(|(since, _)| *since <= at);
        seen.and_then(|(_, bytes)| bytes.clone())
    }
}

/// A node's way to the store.
struct Wire {
    node: usize,
    kept: Arc<Mutex<Kept>>,
    /// When a load last began that succeeded, by true time.
    heard: Arc<AtomicU64>,
}

fn broken() -> KeyStoreError {
    KeyStoreError::new(KeyStoreErrorKind::Unavailable, "store: no answer")
}

impl KeyStore for Wire {
    fn load(&self) -> Result<Option<Zeroizing<Vec<u8>>>, KeyStoreError> {
        let mut kept = self.kept.lock().unwrap();
        if kept.cut_off.contains(&self.node) || kept.random.one_in(100) {
            return Err(broken());
        }
        self.heard.store(kept.now, Ordering::Relaxed);
        Ok(kept.read().map(Zeroizing::new))
    }

    fn replace(&self, there: Option<&[u8]>, with: &[u8]) -> Result<bool, KeyStoreError> {
        let mut kept = self.kept.lock().unwrap();
        if kept.cut_off.contains(&self.node) || kept.random.one_in(50) {
            return Err(broken());
        }
        if kept.latest().as_deref() != there {
            return Ok(false);
        }
        let now = kept.now;
        kept.versions.push((now, Some(with.to_vec())));
        if kept.random.one_in(10) {
            return Err(broken());
        }
        Ok(true)
    }

    fn describe(&self) -> String {
        "store".to_owned()
    }

    fn is_private(&self) -> bool {
        true
    }

    fn propagation(&self) -> Duration {
        Duration::from_millis(LAG)
    }
}

struct Node {
    /// By how much its clock is off, either way.
    offset: i64,
    clock: Arc<Mutex<SystemTime>>,
    keys: Option<ManagedKeys>,
    heard: Arc<AtomicU64>,
    poll: u64,
    rotate_every: Option<u64>,
    /// What it has said that it seals for.
    lifetime: u64,
    /// It will say more once it can.
    wants_long: bool,
    /// It serves nobody: off, or suspended.
    is_down: bool,
    /// It began with a store that lacked something, and nobody can tell it what is missing until
    /// somebody has put it back.
    begins_anew_until: u64,
    /// Its clock is not within the tolerance.
    is_wrong: bool,
    seals: Option<KeyId>,
    opens: BTreeSet<KeyId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Poll(usize),
    Seal(usize),
    Restart,
    CutOff,
    Reconnect(usize),
    Suspend,
    Resume(usize),
    WrongClock,
    RightClock(usize),
    LoseLastWrite,
    RestoreBackup,
    Revoke,
    Lengthen,
}

struct World {
    seed: u64,
    length: u64,
    now: u64,
    random: Random,
    kept: Arc<Mutex<Kept>>,
    nodes: Vec<Node>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    count: u64,
    /// Until when the last genuine token under each key lives.
    tokens: BTreeMap<KeyId, u64>,
    /// Keys that somebody may have, and since when the store says without a break that they are
    /// revoked.
    dead: BTreeMap<KeyId, Option<u64>>,
    looked_at: usize,
    /// What ever lay in the store, whatever it has gone back to since.
    was_present: BTreeSet<String>,
    sealed_under: BTreeSet<KeyId>,
    last_rotation: u64,
    revocations: usize,
    went_back_at: u64,
    /// When a clock was last put right.
    put_right_at: u64,
    lately: VecDeque<(u64, Event)>,
}

impl World {
    fn new(seed: u64, nodes: usize, length: u64) -> Self {
        let kept = Kept {
            now: START,
            versions: vec![(0, None)],
            random: Random(seed ^ 0x5a5a),
            cut_off: BTreeSet::new(),
        };
        let mut world = Self {
            seed,
            length,
            now: START,
            random: Random(seed),
            kept: Arc::new(Mutex::new(kept)),
            nodes: Vec::new(),
            events: BinaryHeap::new(),
            count: 0,
            tokens: BTreeMap::new(),
            dead: BTreeMap::new(),
            looked_at: 0,
            was_present: BTreeSet::new(),
            sealed_under: BTreeSet::new(),
            last_rotation: START,
            revocations: 0,
            went_back_at: 0,
            put_right_at: 0,
            lately: VecDeque::new(),
        };
        for node in 0..nodes {
            let offset = world.random.below(2 * SKEW) as i64 - SKEW as i64;
            // The first makes the ring, for the slowest of all.
            let slowness = if node == 0 {
                1
            } else {
                world.random.between(1, 4)
            };
            let days = world.random.between(20, 41);
            let by_hand = world.random.one_in(4);
            world.nodes.push(Node {
                offset,
                clock: Arc::new(Mutex::new(SystemTime::UNIX_EPOCH)),
                keys: None,
                heard: Arc::default(),
                poll: POLL / slowness,
                rotate_every: (node == 0 || !by_hand).then_some(days * DAY),
                lifetime: SHORT,
                wants_long: false,
                is_down: true,
                begins_anew_until: 0,
                is_wrong: false,
                seals: None,
                opens: BTreeSet::new(),
            });
            let first = world.random.below(HOUR);
            world.later(if node == 0 { 0 } else { HOUR + first }, Event::Poll(node));
            world.later(2 * HOUR + first, Event::Seal(node));
        }
        for (event, every) in World::TROUBLE {
            let first = world.random.below(2 * every);
            world.later(DAY + first, event);
        }
        world
    }

    /// What goes wrong, and how often on average.
    const TROUBLE: [(Event, u64); 8] = [
        (Event::Restart, 8 * HOUR),
        (Event::CutOff, 12 * HOUR),
        (Event::Suspend, 5 * DAY),
        (Event::WrongClock, 30 * DAY),
        (Event::LoseLastWrite, 4 * DAY),
        (Event::RestoreBackup, 60 * DAY),
        (Event::Revoke, 150 * DAY),
        (Event::Lengthen, 90 * DAY),
    ];

    fn later(&mut self, delay: u64, event: Event) {
        self.count += 1;
        let at = Reverse((self.now + delay, self.count, event));
        self.events.push(at);
    }

    fn run(mut self) {
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            if now > START + self.length {
                break;
            }
            self.now = now;
            self.kept.lock().unwrap().now = now;
            self.happen(event);
            if let Some((_, every)) = World::TROUBLE.iter().find(|(kind, _)| *kind == event) {
                let delay = self.random.between(1, 2 * every);
                self.later(delay, event);
            }
            self.watch_store();
        }
        let rotations = self.sealed_under.len() as u64;
        self.must(rotations >= self.length / (110 * DAY), || {
            "keys do not rotate".to_owned()
        });
        self.must(self.revocations > 0, || "nothing was revoked".to_owned());
    }

    #[track_caller]
    fn must(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            let (seed, day) = (self.seed, (self.now - START) as f64 / DAY as f64);
            panic!("seed {seed}, day {day:.3}: {}{}", what(), self.story());
        }
    }

    /// What has happened lately, and what the store has, without a key.
    fn story(&self) -> String {
        let day = |at: u64| (at.saturating_sub(START)) as f64 / DAY as f64;
        let mut story = format!("\nskew {:?}", self.nodes.iter().map(|n| n.offset).max());
        for (at, event) in &self.lately {
            story += &format!("\n{:.3} {event:?}", day(*at));
        }
        let kept = self.kept.lock().unwrap();
        for (at, bytes) in kept.versions.iter().rev().take(4).rev() {
            story += &format!("\nsince {:.3}:", day(*at));
            let text = String::from_utf8(bytes.clone().unwrap_or_default()).unwrap();
            for line in text.lines() {
                let line = line.split("base64:").next().unwrap_or_default();
                let words = line.split(' ').map(|word| match word.parse::<u64>() {
                    Ok(at) if at > START => format!("{:.3}", day(at)),
                    _ => word.to_owned(),
                });
                story += &format!("\n  {}", words.collect::<Vec<_>>().join(" "));
            }
        }
        story
    }

    fn happen(&mut self, event: Event) {
        if !matches!(event, Event::Poll(_) | Event::Seal(_)) {
            self.lately.push_back((self.now, event));
            if self.lately.len() > 40 {
                self.lately.pop_front();
            }
        }
        match event {
            Event::Poll(node) => {
                self.poll(node);
                let poll = self.nodes[node].poll;
                let delay = self.random.between(poll * 3 / 4, poll * 5 / 4);
                self.later(delay, event);
            }
            Event::Seal(node) => {
                self.seal(node);
                let delay = self.random.between(HOUR, 12 * HOUR);
                self.later(delay, event);
            }
            Event::Restart => {
                let node = self.any();
                self.nodes[node].keys = None;
                self.nodes[node].is_down = true;
                self.nodes[node].lifetime = SHORT;
                self.poll(node);
            }
            Event::CutOff => {
                // Not so long that a whole rotation is missed; nobody is well for ever then.
                let node = self.any();
                self.kept.lock().unwrap().cut_off.insert(node);
                let delay = self.random.between(MINUTE, 11 * HOUR);
                self.later(delay, Event::Reconnect(node));
            }
            Event::Reconnect(node) => {
                self.kept.lock().unwrap().cut_off.remove(&node);
            }
            Event::Suspend => {
                let node = self.any();
                self.nodes[node].is_down = true;
                let delay = self.random.between(HOUR, 8 * DAY);
                self.later(delay, Event::Resume(node));
            }
            Event::Resume(node) => self.poll(node),
            Event::WrongClock => {
                let node = self.any();
                let off = [
                    YEAR as i64,
                    -(YEAR as i64),
                    40 * DAY as i64,
                    -(3 * DAY as i64),
                ];
                let off = off[self.random.below(4) as usize];
                if !self.nodes[node].is_wrong {
                    self.nodes[node].is_wrong = true;
                    self.nodes[node].offset += off;
                    let delay = self.random.between(HOUR, 5 * DAY);
                    self.later(delay, Event::RightClock(node));
                }
            }
            Event::RightClock(node) => {
                self.nodes[node].offset = self.random.below(2 * SKEW) as i64 - SKEW as i64;
                self.nodes[node].is_wrong = false;
                self.put_right_at = self.now;
                // It starts anew, as an operator would see to.
                self.nodes[node].keys = None;
                self.nodes[node].is_down = true;
                self.nodes[node].lifetime = SHORT;
                self.poll(node);
            }
            Event::LoseLastWrite => self.go_back(1),
            Event::RestoreBackup => {
                let by = self.random.between(1, 8) as usize;
                self.go_back(by);
            }
            Event::Revoke => self.revoke(),
            Event::Lengthen => {
                let node = self.any();
                self.nodes[node].wants_long = true;
                self.lengthen(node);
            }
        }
    }

    fn any(&mut self) -> usize {
        self.random.below(self.nodes.len() as u64) as usize
    }

    fn set_clock(&self, node: usize) {
        let node = &self.nodes[node];
        let time = self.now.saturating_add_signed(node.offset);
        *node.clock.lock().unwrap() = SystemTime::UNIX_EPOCH + Duration::from_millis(time);
    }

    fn poll(&mut self, node: usize) {
        self.set_clock(node);
        if self.nodes[node].is_wrong && self.nodes[node].keys.is_none() {
            // Nobody starts a service whose log says that its clock is wrong.
            return;
        }
        if let Some(keys) = &self.nodes[node].keys {
            let _ = keys.refresh();
            self.nodes[node].is_down = false;
        } else {
            self.start(node);
        }
        if self.nodes[node].wants_long {
            self.lengthen(node);
        }
        self.look(node);
    }

    fn start(&mut self, index: usize) {
        let node = &self.nodes[index];
        let wire = Wire {
            node: index,
            kept: Arc::clone(&self.kept),
            heard: Arc::clone(&node.heard),
        };
        let clock = Arc::clone(&node.clock);
        let builder = ManagedKeys::builder(wire)
            .poll(Duration::from_millis(node.poll))
            .clock(move || *clock.lock().unwrap())
            .without_thread();
        let builder = match node.rotate_every {
            Some(every) => builder.rotate_every(Duration::from_millis(every)),
            None => builder.rotate_by_hand(),
        };
        let builder = if index == 0 && self.count < 1000 {
            builder
        } else {
            builder.must_exist()
        };
        if let Ok(keys) = builder.build() {
            if self.now < self.went_back_at + REACH {
                self.nodes[index].begins_anew_until = self.went_back_at + 2 * REACH;
            }
            // What a clock that is weeks ahead has removed, the others put back.
            let was_wrong = self.now < self.put_right_at + REACH;
            if was_wrong || self.nodes.iter().any(|node| node.is_wrong) {
                self.nodes[index].begins_anew_until = self.now + REACH;
            }
            self.nodes[index].keys = Some(keys);
            self.nodes[index].is_down = false;
        }
    }

    fn lengthen(&mut self, node: usize) {
        self.set_clock(node);
        let node = &mut self.nodes[node];
        let Some(keys) = node.keys.as_ref().filter(|_| !node.is_down) else {
            return;
        };
        let store = CookieStore::builder(keys).lifetime(Duration::from_millis(LONG));
        if store.build().is_ok() {
            node.lifetime = LONG;
            node.wants_long = false;
        }
    }

    /// What a node has, and whether it may.
    fn look(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let Some(keys) = &node.keys else {
            node.seals = None;
            node.opens.clear();
            return;
        };
        node.seals = keys.seals();
        node.opens = keys.opens().into_iter().collect();
        let heard = node.heard.load(Ordering::Relaxed);
        if !self.is_healthy(index) {
            return;
        }
        let node = &self.nodes[index];
        self.must(node.seals.is_some() || node.wants_long, || {
            format!("node {index} is well and may not seal")
        });
        for (key, until) in &self.tokens {
            // By the node's clock it may be over already.
            if *until > self.now + 2 * SKEW {
                self.must(node.opens.contains(key) || self.is_emergency(*key), || {
                    format!("node {index} refuses what is sealed under {key}")
                });
            }
        }
        for (key, since) in &self.dead {
            if since.is_some_and(|since| heard >= since + LAG) {
                self.must(
                    !node.opens.contains(key) && node.seals != Some(*key),
                    || format!("node {index} works with {key}, which is revoked"),
                );
            }
        }
    }

    fn is_healthy(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        let is_up = !node.is_down && !node.is_wrong && node.keys.is_some();
        let heard = node.heard.load(Ordering::Relaxed);
        is_up && self.now >= node.begins_anew_until && self.now - heard <= REACH
    }

    /// A visitor logs in; or a server's record is written, an invitation sealed, a revocation
    /// published. Some read for as long as it lives, and never write.
    fn seal(&mut self, index: usize) {
        let node = &self.nodes[index];
        if node.is_down || node.is_wrong || self.now < node.begins_anew_until {
            return;
        }
        let (Some(key), lifetime) = (node.seals, node.lifetime) else {
            return;
        };
        // By its clock, which is ahead at worst.
        let until = self.now + SKEW + lifetime;
        if !self.dead.contains_key(&key) {
            let known = self.tokens.entry(key).or_default();
            *known = (*known).max(until);
        }
        if self.sealed_under.insert(key) {
            let since = self.now - self.last_rotation;
            self.must(since < 110 * DAY, || {
                "no key was made for too long".to_owned()
            });
            self.last_rotation = self.now;
        }
        let is_dead = self.dead.contains_key(&key);
        for (other, node) in self.nodes.iter().enumerate() {
            if !is_dead && !node.opens.contains(&key) && self.is_healthy(other) {
                self.must(self.is_emergency(key), || {
                    format!("node {index} seals under {key}, which node {other} lacks")
                });
            }
        }
        let now = self.now;
        self.tokens.retain(|_, until| *until > now);
    }

    /// Whether a key began to seal as soon as it was made, a short while ago: it cannot be
    /// everywhere at once, and nobody says so.
    fn is_emergency(&self, key: KeyId) -> bool {
        let kept = self.kept.lock().unwrap();
        let text = kept.latest().map(|bytes| String::from_utf8(bytes).unwrap());
        let text = text.unwrap_or_default();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("key {key} ")));
        let Some(line) = line else { return true };
        let words: Vec<_> = line.split(' ').collect();
        let made: u64 = words[3].parse().unwrap();
        words[3] == words[5] && self.now < made + 2 * REACH
    }

    fn go_back(&mut self, by: usize) {
        self.went_back_at = self.now;
        let mut kept = self.kept.lock().unwrap();
        let now = kept.now;
        let place = kept.versions.len().saturating_sub(by + 1).max(1);
        if let Some((_, bytes)) = kept.versions.get(place).cloned() {
            kept.versions.push((now, bytes));
        }
    }

    fn revoke(&mut self) {
        let node = self.any();
        if !self.is_healthy(node) {
            self.later(HOUR, Event::Revoke);
            return;
        }
        self.set_clock(node);
        let Some(keys) = self.nodes[node].keys.clone() else {
            return;
        };
        let Some(leaked) = keys.seals() else { return };
        if keys.revoke(leaked).is_ok() {
            self.revocations += 1;
        } else {
            // It may have been written all the same.
            self.later(HOUR, Event::Revoke);
        }
        // Whoever had the one may have had all that lay beside it.
        let known: BTreeSet<_> = self
            .nodes
            .iter()
            .flat_map(|node| &node.opens)
            .copied()
            .collect();
        for key in known {
            if self.was_present.contains(&key.to_string()) {
                self.dead.insert(key, None);
                self.tokens.remove(&key);
            }
        }
        self.look(node);
    }

    /// What lies in the store, and which keys it calls dead.
    fn watch_store(&mut self) {
        let kept = self.kept.lock().unwrap();
        if kept.versions.len() == self.looked_at {
            return;
        }
        self.looked_at = kept.versions.len();
        let text = kept.latest().map(|bytes| String::from_utf8(bytes).unwrap());
        drop(kept);
        let text = text.unwrap_or_default();
        let with_key = text
            .lines()
            .filter(|line| line.contains(" material base64:"));
        let present: Vec<_> = with_key
            .filter_map(|line| line.split(' ').nth(1).map(str::to_owned))
            .collect();
        self.must(present.len() <= 16, || {
            "the ring has too many keys".to_owned()
        });
        self.was_present.extend(present);
        let now = self.now;
        for (key, since) in &mut self.dead {
            if is_called_dead(&text, *key) {
                since.get_or_insert(now);
            } else {
                *since = None;
            }
        }
    }
}

/// Whether the text of a ring says that a key is revoked. One that went back may not know it.
fn is_called_dead(text: &str, key: KeyId) -> bool {
    let begins = format!("key {key} ");
    let line = text.lines().find(|line| line.starts_with(&begins));
    let Some(line) = line else { return false };
    let words: Vec<_> = line.split(' ').collect();
    let fence = text.lines().find_map(|line| line.strip_prefix("fence "));
    let [made, fence] = [words[3], fence.unwrap()].map(|word| word.parse::<u64>().unwrap());
    words[11] != "-" || made <= fence
}

#[test]
#[expect(clippy::print_stdout, reason = "a long run tells how far it is")]
fn simulation_of_a_fleet_for_three_years() {
    let number = |text: &str| text.parse::<u64>().unwrap();
    let seeds = match (env::var("SIMULATION_SEED"), env::var("SIMULATION_SEEDS")) {
        (Ok(seed), _) => number(&seed)..=number(&seed),
        (_, Ok(seeds)) => match seeds.split_once("..") {
            Some((first, last)) => number(first)..=number(last),
            None => 1..=number(&seeds),
        },
        _ => return World::new(1, 20, YEAR).run(),
    };
    for seed in seeds {
        World::new(seed, 50, 3 * YEAR).run();
        println!("seed {seed} is well");
    }
}
