//! What docs/stores.md promises, as questions to a history.

use sealed_session::{Origin, Session};

use super::world::{Done, History, Op, Place, STUB, Sent, World};
use crate::support::*;

impl World {
    /// Whether sessions may be whole in cookies, and nothing tells what has become of one.
    fn last_wins(&self) -> bool {
        self.place != Place::Backend && !self.place.is_listed()
    }
}

impl History {
    /// Those whose answers have set a cookie, in the order of their saves.
    fn senders(&self) -> Vec<&Done> {
        let senders = self.done.iter().filter(|done| done.sets_cookie());
        let mut senders: Vec<_> = senders.collect();
        senders.sort_by_key(|done| done.saved_at);
        senders
    }

    /// Whether answers came in the order of the saves.
    fn is_in_order(&self) -> bool {
        self.senders().is_sorted_by_key(|done| done.arrived_at)
    }
}

impl Done {
    fn was_opened(&self) -> bool {
        self.origin == Origin::Opened
    }

    fn sets_cookie(&self) -> bool {
        matches!(self.sent, Ok(Sent::Token(_) | Sent::Removal))
    }

    /// Whether its answer had arrived before the other was loaded.
    fn was_before(&self, other: &Self) -> bool {
        self.arrived_at < other.loaded_at
    }

    /// The life that what it wrote is in.
    fn writes_to(&self) -> Option<usize> {
        self.begun.or(self.life)
    }

    /// Whether it did something to a session, and was told that this is saved.
    fn is_acknowledged(&self) -> bool {
        let has_one = self.was_opened() || self.begun.is_some() || self.op.ends();
        self.sent.is_ok() && !self.is_cut_off && self.has_changed && has_one
    }

    /// Whether it was cut off when the session may have got an id that nobody has.
    fn may_have_moved(&self, world: &World) -> bool {
        let changes_place = !matches!(world.place, Place::Cookie { .. } | Place::Backend);
        let changes_id = self.op.ends() || matches!(self.op, Op::Renew | Op::Login);
        self.is_cut_off && self.op != Op::Read && (changes_id || changes_place)
    }

    /// Whether it has given the session another id.
    fn has_moved(&self) -> bool {
        let [before, after] = self.ids;
        self.is_acknowledged() && (before.is_some() && before != after)
    }

    /// Whether what it did can be seen in `session`.
    fn is_seen_in(&self, world: &World, session: &Session) -> bool {
        let n = self.n;
        match self.op {
            Op::InsertA => session.get("a") == Ok(Some(n)),
            Op::InsertB => session.get("b") == Ok(Some(world.b(n))),
            Op::Remove => !session.contains("old"),
            Op::Clear => session.get("cleared") == Ok(Some(n)),
            Op::Expire => session.expires_at() == Some(world.deadline(n)),
            Op::Claim => !self.claimed || !session.contains("voucher"),
            Op::Login | Op::Begin => session.get("user") == Ok(Some(n)),
            Op::Renew => session.origin() == Origin::Opened,
            Op::Read | Op::Destroy => true,
        }
    }

    /// Whether a later save of `other` may stand in the place of what this one wrote.
    fn may_be_overwritten_by(&self, other: &Self) -> bool {
        use Op::{Begin, Clear, Expire, Login, Renew};
        match (self.op, other.op) {
            (one, two) if one == two => true,
            (_, Clear) => !matches!(self.op, Renew | Expire),
            (Login | Begin, Login | Begin) => true,
            // A login has a new deadline.
            (Expire, Login) => true,
            _ => false,
        }
    }
}

fn broken<T>(what: &str, done: &Done) -> Result<T, String> {
    Err(format!("{what}: request {} ({:?})", done.n + 1, done.op))
}

pub(super) fn check(world: &World, history: &History) -> Result<(), String> {
    for done in &history.done {
        reading_sends_nothing(history, done)?;
        errors_have_a_reason(world, history, done)?;
        no_id_is_adopted(history, done)?;
        nothing_is_revived(world, history, done)?;
    }
    one_claim_wins(history)?;
    world.wait();
    ends_are_ends(world, history)?;
    let session = world.load(&world.request(&history.browser));
    let in_order = had_answers_in_order(world, history);
    let in_order = in_order.map(|browser| world.load(&world.request(&browser)));
    for done in &history.done {
        let lost = nothing_acknowledged_is_lost(world, history, done, &session);
        match &in_order {
            Some(session) if lost.is_err() => {
                nothing_acknowledged_is_lost(world, history, done, session)?;
            }
            _ => lost?,
        }
    }
    if session.origin() == Origin::Opened || world.can_save(&session) {
        Ok(())
    } else {
        Err("the browser is locked out".to_owned())
    }
}

/// A browser believes the answer that comes last, and no server knows which that will be. If they
/// came in another order than they were saved in: one that got them in that.
fn had_answers_in_order(world: &World, history: &History) -> Option<Browser> {
    if history.is_in_order() {
        return None;
    }
    let mut browser = Browser::default();
    for done in history.senders() {
        world.receive(&mut browser, &done.answer);
    }
    Some(browser)
}

/// But a cookie whose Max-Age is another by now.
fn reading_sends_nothing(history: &History, done: &Done) -> Result<(), String> {
    let has_new_deadline = history.done.iter().any(|other| other.op == Op::Expire);
    if done.op == Op::Read && done.sent != Ok(Sent::Nothing) && !has_new_deadline {
        return broken("reading is answered with more than that", done);
    }
    Ok(())
}

/// Only a conflict, and only if another request has changed the id or claimed something.
fn errors_have_a_reason(world: &World, history: &History, done: &Done) -> Result<(), String> {
    let Err(error) = &done.sent else {
        return Ok(());
    };
    if !error.is_conflict() {
        return broken("an error that is no conflict", done);
    }
    let is_reason = |other: &&Done| {
        // With an answer that came too late it may have come with an older cookie; so it may where
        // the last one wins.
        let may_know = other.was_before(done)
            && !other.is_cut_off
            && history.is_in_order()
            && !world.last_wins();
        let has_met =
            other.n != done.n && other.loaded_at < done.saved_at && !may_know && other.sent.is_ok();
        let ends = other.op.ends() && done.claimed;
        let contends = done.claimed && (other.claimed || other.op == Op::Clear);
        let has_moved = other.has_moved() || other.may_have_moved(world);
        has_met && (has_moved || other.begun.is_some() || ends || contends)
    };
    match history.done.iter().find(is_reason) {
        Some(_) => Ok(()),
        None => broken("a conflict with nobody", done),
    }
}

/// A session that begins has an id that no client has brought.
fn no_id_is_adopted(history: &History, done: &Done) -> Result<(), String> {
    let brought = history.done.iter();
    let brought = brought.filter(|other| other.loaded_at <= done.saved_at);
    let mut brought = brought.filter_map(|other| other.ids[0]);
    if done.begun.is_some() && brought.any(|id| done.ids[1] == Some(id)) {
        return broken("a new session has an id that was known", done);
    }
    Ok(())
}

/// Whether a life's end is known to whoever opens its cookies; without a list a cookie is all
/// there is of a session.
fn is_told_of_ends(world: &World, end: &Done) -> bool {
    world.place.is_listed() || (world.place != Place::Cookie { listed: false } && !end.came_whole)
}

/// Those who have ended this life, or have come to do so and were told that it is over.
fn ends_of(history: &History, life: usize) -> impl Iterator<Item = &Done> {
    history.done.iter().filter(move |end| {
        let has_ended = end.op == Op::Destroy || (end.op == Op::Begin && end.was_opened());
        has_ended && end.is_acknowledged() && end.life == Some(life)
    })
}

fn nothing_is_revived(world: &World, history: &History, done: &Done) -> Result<(), String> {
    let is_told = !done.came_whole || world.place.is_listed();
    let Some(life) = done.life.filter(|_| done.was_opened() && is_told) else {
        return Ok(());
    };
    let was_over = ends_of(history, life).any(|end| {
        end.saved_at < done.loaded_at && end.was_opened() && is_told_of_ends(world, end)
    });
    if was_over {
        return broken("it opens a session that was over", done);
    }
    Ok(())
}

/// No cookie of a life that was ended opens, whoever has kept it.
fn ends_are_ends(world: &World, history: &History) -> Result<(), String> {
    for (token, life) in &history.tokens {
        let end = ends_of(history, *life).find(|end| is_told_of_ends(world, end));
        let Some(end) = end else { continue };
        // What others held whole in a cookie, without a list, is theirs to bring back.
        let is_told = world.place.is_listed()
            || history
                .done
                .iter()
                .all(|done| !done.came_whole || !done.was_opened());
        let is_stub = token.len() <= NAME.len() + 1 + STUB;
        if is_told
            && (is_stub || world.place.is_listed())
            && world.load(&cookies(&[token])).origin() == Origin::Opened
        {
            return broken("a session lives on that was ended by", end);
        }
    }
    Ok(())
}

fn one_claim_wins(history: &History) -> Result<(), String> {
    let winners = history.done.iter();
    let winners = winners.filter(|done| done.claimed && done.sent.is_ok() && !done.is_cut_off);
    match winners.count() {
        0 | 1 => Ok(()),
        n => Err(format!("{n} requests have claimed it")),
    }
}

fn nothing_acknowledged_is_lost(
    world: &World,
    history: &History,
    done: &Done,
    last: &Session,
) -> Result<(), String> {
    if !done.is_acknowledged() || done.op == Op::Destroy || done.is_seen_in(world, last) {
        return Ok(());
    }
    let others = || history.done.iter().filter(|other| other.n != done.n);
    let is_excused = others().any(|other| {
        let is_late = other.is_acknowledged() && !other.was_before(done);
        is_late && excuses(world, history, done, other)
            || other.may_have_moved(world)
            || other.is_cut_off && done.may_be_overwritten_by(other)
    });
    if is_excused {
        return Ok(());
    }
    broken("what was acknowledged is lost", done)
}

/// Whether `other` is a reason why nobody sees what `done` wrote.
fn excuses(world: &World, history: &History, done: &Done, other: &Done) -> bool {
    let ended = other.op.ends() && {
        // An end finds what the session has become, and what was begun in its place.
        let follows = other.op == Op::Destroy && other.sets_cookie();
        let mut life = done.writes_to();
        while follows && life.is_some() && life != other.life {
            let begun = history.done.iter().find(|it| it.begun == life);
            life = begun.and_then(|it| it.life);
        }
        life.is_some() && life == other.life
    };
    // Who had nothing, or nothing any more, knows nothing of others who begin.
    let both_begin = other.begun.is_some()
        && done.begun.is_some()
        && (!done.was_opened() || other.life.is_none());
    // A logout without any cookie removes whatever the browser has by then.
    let knew_nothing = other.op == Op::Destroy && other.life.is_none() && other.sets_cookie();
    // After its ten seconds an old id is like any dead one.
    let is_late = other.begun.is_some()
        && !other.was_opened()
        && history
            .waited_at
            .is_some_and(|at| done.loaded_at < at && at < other.loaded_at);
    // Of a session that is whole in its cookie the last response wins; with a list only among
    // those who leave it its id.
    let last_wins = other.sets_cookie()
        && match world.place.is_listed() {
            false => other.came_whole,
            true => other.came_whole && done.came_whole && !done.has_moved(),
        };
    done.may_be_overwritten_by(other) || ended || both_begin || is_late || knew_nothing || last_wins
}
