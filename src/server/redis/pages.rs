//! Lists all keys page by page, from a server or from each master of a cluster.

use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo, SingleNodeRoutingInfo};
use redis::{Cmd, FromRedisValue};

use super::link::{Link, Pool};
use super::{Redis, understood};
use crate::error::{BackendError, BackendErrorKind};
use crate::server::backend::{Cursor, StoreKey};

/// About how many keys a server looks at for one page.
const PAGE: u32 = 500;

const SLOTS: u32 = 1 << 14;

/// The number of digits of a key after the prefix.
const DIGITS: usize = 64;

/// The next cursor, and the keys found. The last page has the cursor `0`.
type Page = (String, Vec<Vec<u8>>);

/// Ranges of slots. The first host and port of a range belong to its master.
type Slots = Vec<(u32, u32, redis::Value)>;

impl Redis {
    pub(super) async fn page(
        &self,
        after: Option<Cursor>,
    ) -> Result<(Vec<StoreKey>, Option<Cursor>), BackendError> {
        let (keys, next) = match (&self.link, after) {
            (Link::Server(_), after) => {
                let after = after.map_or_else(start, |after| after.0);
                let (next, keys): Page = self.ask_one(self.scan_from(&after)).await?;
                (keys, if next == start() { String::new() } else { next })
            }
            (Link::Cluster(cluster), None) => self.first_of_all(cluster).await?,
            (Link::Cluster(cluster), Some(after)) => self.next_of_one(cluster, &after.0).await?,
        };
        let keys = keys.iter().filter_map(|key| self.parse(key)).collect();
        Ok((keys, Some(next).filter(|next| !next.is_empty()).map(Cursor)))
    }

    /// Returns the first page of each master, and a list of the masters that have more.
    async fn first_of_all(
        &self,
        cluster: &Pool<ClusterConnection>,
    ) -> Result<(Vec<Vec<u8>>, String), BackendError> {
        let mut slots = redis::cmd("CLUSTER");
        slots.arg("SLOTS");
        let anywhere = RoutingInfo::SingleNode(SingleNodeRoutingInfo::RandomPrimary);
        let slots: Slots = self.route(cluster, slots, anywhere).await?;
        let everywhere = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
        let scan = self.scan_from(&start());
        let pages: Vec<(String, Page)> = self.route(cluster, scan, everywhere).await?;

        // If the client has no connection to a master, it leaves that master out silently.
        let covered: u32 = slots
            .iter()
            .map(|(from, to, _)| to.abs_diff(*from) + 1)
            .sum();
        let mut masters: Vec<&redis::Value> = Vec::new();
        for (.., master) in &slots {
            if !masters.contains(&master) {
                masters.push(master);
            }
        }
        if covered != SLOTS || masters.len() != pages.len() {
            let what = "a part of the redis cluster is away";
            return Err(BackendError::new(BackendErrorKind::Unavailable, what));
        }
        let (mut keys, mut next) = (Vec::new(), Vec::new());
        for (master, (after, page)) in pages {
            keys.extend(page);
            next.extend(goes_on(&master, &after));
        }
        Ok((keys, next.join(" ")))
    }

    /// Returns the next page of the first master on the list, and the new list.
    async fn next_of_one(
        &self,
        cluster: &Pool<ClusterConnection>,
        list: &str,
    ) -> Result<(Vec<Vec<u8>>, String), BackendError> {
        let unknown = || {
            let what = "the cursor is not one that this backend has returned";
            BackendError::new(BackendErrorKind::Other, what)
        };
        let (first, others) = list.split_once(' ').unwrap_or((list, ""));
        let (master, after) = first.split_once('=').ok_or_else(unknown)?;
        let (host, port) = master.rsplit_once(':').ok_or_else(unknown)?;
        let there = SingleNodeRoutingInfo::ByAddress {
            host: host.to_owned(),
            port: port.parse().map_err(|_| unknown())?,
        };
        let (scan, there) = (self.scan_from(after), RoutingInfo::SingleNode(there));
        let (after, keys): Page = self.route(cluster, scan, there).await?;
        let mut next: Vec<String> = goes_on(master, &after).into_iter().collect();
        next.extend(Some(others.to_owned()).filter(|others| !others.is_empty()));
        Ok((keys, next.join(" ")))
    }

    async fn route<T: FromRedisValue>(
        &self,
        cluster: &Pool<ClusterConnection>,
        command: Cmd,
        there: RoutingInfo,
    ) -> Result<T, BackendError> {
        let send = |mut connection: ClusterConnection| {
            let (command, there) = (command.clone(), there.clone());
            async move { connection.route_command(command, there).await }
        };
        understood(cluster.run(self.timeouts, send).await)
    }

    fn scan_from(&self, after: &str) -> Cmd {
        let mut scan = redis::cmd("SCAN");
        scan.arg(after)
            .arg("MATCH")
            // The pattern has a key's exact length, so that no longer name is sent.
            .arg(literally(&self.prefix) + &"?".repeat(DIGITS))
            .arg("COUNT")
            .arg(PAGE);
        scan
    }

    fn parse(&self, key: &[u8]) -> Option<StoreKey> {
        let digits = key.strip_prefix(self.prefix.as_bytes())?;
        StoreKey::from_hex(std::str::from_utf8(digits).ok()?)
    }
}

fn start() -> String {
    "0".to_owned()
}

fn goes_on(master: &str, after: &str) -> Option<String> {
    (after != start()).then(|| format!("{master}={after}"))
}

/// Returns a pattern that matches only this text.
fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for c in text.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '^' | '-' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}
