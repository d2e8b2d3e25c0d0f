use std::collections::BTreeMap;

use sealed_session::{Field, Session, SessionError};
use serde::{Deserialize, Serialize};

/// What is in the basket, and how many. Before, it was a list of names.
#[derive(Default, Deserialize, Serialize)]
struct Basket {
    items: BTreeMap<String, u32>,
}

const BASKET: Field<Basket> = Field::new("basket");

pub async fn add(session: Session, item: String) -> Result<String, SessionError> {
    let mut basket = session.get_or_remove(BASKET).unwrap_or_default();
    *basket.items.entry(item).or_default() += 1;
    let answer = format!("{:?}", basket.items);
    session.insert(BASKET, basket)?;
    Ok(answer)
}
