//! What can happen to a session, a request and a site.

use proptest::prelude::*;

use super::{IDLE, LIFETIME, NAMES, SKEW};

#[derive(Clone, Debug)]
pub(super) enum Op {
    Insert(&'static str, usize),
    InsertNothing(&'static str),
    Append(&'static str),
    Remove(&'static str),
    Take(&'static str),
    Clear,
    Flash(&'static str, usize),
    FlashNothing(&'static str),
    TakeFlash(&'static str),
    Subject(usize),
    Label(usize),
    Sid(usize),
    LogIn,
    Renew,
    Destroy,
    Remember(bool),
    LeaveIdle,
    SetExpiry { before: u64, after: u64 },
    KeepExpiry,
    Merge(Vec<(&'static str, usize)>, Vec<(&'static str, usize)>),
    Save,
    DiscardResponse,
    NextRequest,
    Forward(u64),
    Back(u64),
    Rotate,
    DropOldKey,
    Cutoff,
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let name = || prop::sample::select(&NAMES);
    let size = || prop_oneof![4 => 0_usize..20, 1 => 100_usize..200, 1 => 900_usize..3000];
    let entries = move || prop::collection::vec((name(), size()), 0..3);
    prop_oneof![
        6 => (name(), size()).prop_map(|(name, size)| Op::Insert(name, size)),
        1 => name().prop_map(Op::InsertNothing),
        3 => name().prop_map(Op::Append),
        3 => name().prop_map(Op::Remove),
        2 => name().prop_map(Op::Take),
        1 => Just(Op::Clear),
        4 => (name(), size()).prop_map(|(name, size)| Op::Flash(name, size)),
        1 => name().prop_map(Op::FlashNothing),
        4 => name().prop_map(Op::TakeFlash),
        3 => (0_usize..270).prop_map(Op::Subject),
        1 => (0_usize..270).prop_map(Op::Label),
        1 => (0_usize..270).prop_map(Op::Sid),
        2 => Just(Op::LogIn),
        2 => Just(Op::Renew),
        2 => Just(Op::Destroy),
        3 => any::<bool>().prop_map(Op::Remember),
        1 => Just(Op::LeaveIdle),
        3 => (0..100_000_000_u64).prop_map(|after| Op::SetExpiry { before: 0, after }),
        1 => (0..100_000_u64).prop_map(|before| Op::SetExpiry { before, after: 0 }),
        1 => Just(Op::KeepExpiry),
        2 => (entries(), entries()).prop_map(|(values, flashes)| Op::Merge(values, flashes)),
        8 => Just(Op::Save),
        1 => Just(Op::DiscardResponse),
        8 => Just(Op::NextRequest),
        3 => (0..IDLE * 5 / 4).prop_map(Op::Forward),
        1 => (0..LIFETIME).prop_map(Op::Forward),
        2 => (0..SKEW * 5 / 4).prop_map(Op::Back),
        1 => Just(Op::Rotate),
        1 => Just(Op::DropOldKey),
        1 => Just(Op::Cutoff),
    ]
}
