//! A value of any type, so that what holds it is compiled once and not for each type.

use std::any::Any as Anything;
use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;

use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, Serializer};

use crate::Storable;

/// One value. Whatever is read as an `Any` is read as the type of the one that was made last on
/// this thread.
#[derive(Clone)]
pub(crate) struct Any(Rc<dyn Held>);

type Read = fn(&mut dyn erased_serde::Deserializer<'_>) -> Result<Any, erased_serde::Error>;

thread_local! {
    static READ: Cell<Option<Read>> = const { Cell::new(None) };
}

trait Held: erased_serde::Serialize + fmt::Debug + Anything {
    fn is(&self, other: &dyn Anything) -> bool;
}

impl<T: Storable> Held for T {
    fn is(&self, other: &dyn Anything) -> bool {
        other.downcast_ref() == Some(self)
    }
}

fn read<T: Storable>(
    deserializer: &mut dyn erased_serde::Deserializer<'_>,
) -> Result<Any, erased_serde::Error> {
    T::deserialize(deserializer).map(|value| Any(Rc::new(value)))
}

impl<T: Storable> From<&T> for Any {
    fn from(value: &T) -> Self {
        READ.set(Some(read::<T>));
        Self(Rc::new(value.clone()))
    }
}

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        erased_serde::serialize(&*self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = READ.get().expect("one was made before");
        let mut deserializer = <dyn erased_serde::Deserializer<'_>>::erase(deserializer);
        read(&mut deserializer).map_err(serde::de::Error::custom)
    }
}

impl PartialEq for Any {
    fn eq(&self, other: &Self) -> bool {
        let other: &dyn Anything = &*other.0;
        self.0.is(other)
    }
}

impl Eq for Any {}

/// There is never more than one in a map.
impl Ord for Any {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

impl PartialOrd for Any {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Any {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
