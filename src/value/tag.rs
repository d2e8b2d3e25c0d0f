//! The first byte of a value, which says its kind.

pub(super) const NULL: u8 = 0;
pub(super) const BOOL: u8 = 1;
pub(super) const UNSIGNED: u8 = 2;
pub(super) const NEGATIVE: u8 = 3;
pub(super) const FLOAT: u8 = 4;
pub(super) const STRING: u8 = 5;
pub(super) const BYTES: u8 = 6;
pub(super) const LIST: u8 = 7;
pub(super) const MAP: u8 = 8;
