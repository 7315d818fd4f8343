//! Entries of caches in ConfigMaps that nobody has used for long are removed, where that is wanted: a ConfigMap has room for 1 MiB.
//! argo: workflow/controller/cache_gc.go.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tiphys_kubernetes::{ApiError, Kind, Pages};
use tokio::time::{MissedTickBehavior, interval};

use super::memo::{CACHE, Entry, MAP_TYPE};
use super::needs::ConfigMapObject;
use crate::cluster::Cluster;
use crate::durations::not_negative;

/// An entry's last use is written at most so often.
const HIT_EVERY: Duration = Duration::from_secs(60);

/// Whether and when entries are removed; the names in the environment are Argo's.
#[derive(Clone, Debug, PartialEq, Eq, clap::Args)]
pub struct CacheGc {
    /// How often entries of memoization caches in ConfigMaps are looked for that nobody uses any more; 0s for never
    #[arg(long, env = "CACHE_GC_PERIOD", default_value = "0s", value_parser = not_negative, value_name = "DURATION")]
    pub cache_gc_period: Duration,
    /// After how long without use they are removed
    #[arg(long, env = "CACHE_GC_AFTER_NOT_HIT_DURATION", default_value = "30s", value_parser = not_negative, value_name = "DURATION")]
    pub cache_gc_after_not_hit: Duration,
}

impl Default for CacheGc {
    fn default() -> CacheGc {
        CacheGc { cache_gc_period: Duration::ZERO, cache_gc_after_not_hit: Duration::from_secs(30) }
    }
}

impl CacheGc {
    /// How old the last use of an entry may be, as it is written, before another one is worth a write.
    pub(super) fn hit_every(&self) -> Duration {
        match self.cache_gc_period.is_zero() {
            true => HIT_EVERY,
            // What is in use has to be seen to be.
            false => HIT_EVERY.min(self.cache_gc_after_not_hit / 2),
        }
    }
}

/// Collects for as long as it is polled.
pub async fn collect_caches(cluster: Arc<Cluster>) {
    let gc = cluster.config().cache_gc.clone();
    if gc.cache_gc_period.is_zero() {
        return;
    }
    let mut ticks = interval(gc.cache_gc_period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        match collect(&cluster, gc.cache_gc_after_not_hit, Timestamp::now()).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "entries of caches removed that nobody has used for long"),
            Err(error) => tracing::error!(%error, "caches cannot be looked through"),
        }
    }
}

/// Removes what was not used for so long; tells how many entries that were.
async fn collect(cluster: &Cluster, after: Duration, now: Timestamp) -> Result<usize, ApiError> {
    let maps = Kind::ConfigMap.within(&cluster.watched);
    let selector = format!("{MAP_TYPE}={CACHE}");
    let mut pages = Pages::new(&cluster.api, &maps, &[("labelSelector", &selector)]).of("20");
    let mut count = 0;
    while let Some(page) = pages.next::<ConfigMapObject>().await? {
        for map in page.items {
            let old = unused(&map, after, now);
            if old.is_empty() {
                continue;
            }
            let removed: Map<String, Value> = old.iter().map(|&key| (key.to_owned(), Value::Null)).collect();
            let path = Kind::ConfigMap.within(&map.metadata.namespace).named(&map.metadata.name);
            // One that was used in the meantime stays.
            let patch = json!({"metadata": {"resourceVersion": map.metadata.resource_version}, "data": removed});
            let _turn = cluster.other.acquire().await;
            match cluster.api.patch(&path, &patch).await {
                Ok(_) => count += old.len(),
                Err(error) => tracing::warn!(%path, %error, "a cache is looked through another time"),
            }
        }
    }
    Ok(count)
}

/// Keys of entries that were not used for so long. What is no entry stays.
fn unused(map: &ConfigMapObject, after: Duration, now: Timestamp) -> Vec<&str> {
    let is_old = |text: &str| {
        let Ok(entry) = serde_json::from_str::<Entry>(text) else { return false };
        let used = entry.last_hit_timestamp.unwrap_or(entry.creation_timestamp);
        Duration::try_from(now.duration_since(used.0)).is_ok_and(|age| age > after)
    };
    map.data.iter().filter(|(_, text)| is_old(text)).map(|(key, _)| key.as_str()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::api_server::ApiServer;
    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn what_nobody_has_used_for_long_is_removed() {
        let entry = |hit: Option<&str>| {
            let mut entry = json!({"nodeID": "n", "outputs": null, "creationTimestamp": "2026-01-01T00:00:00Z"});
            entry["lastHitTimestamp"] = json!(hit);
            entry.to_string()
        };
        let map = |name: &str, data: Value| json!({"metadata": {"name": name, "namespace": "team", "resourceVersion": "7"}, "data": data});
        let mixed = json!({
            "old": entry(Some("2026-01-01T11:58:59Z")), "young": entry(Some("2026-01-01T11:59:30Z")),
            "never": entry(None), "none": "no entry",
        });
        let list = json!({"metadata": {}, "items": [
            map("mixed", mixed), map("young", json!({"k": entry(Some("2026-01-01T11:59:59Z"))})), map("empty", json!({})),
        ]});
        let server = ApiServer::default()
            .with("/api/v1/configmaps", list)
            .with("/api/v1/namespaces/team/configmaps/mixed", json!({}));
        let now = "2026-01-01T12:00:00Z".parse().unwrap();
        let cluster = server.cluster(Config::default());
        assert_eq!(collect(&cluster, Duration::from_secs(60), now).await.unwrap(), 2);
        let changes: Vec<Value> = server.changes().into_iter().map(|(_, _, body)| body).collect();
        assert_eq!(changes, [json!({"metadata": {"resourceVersion": "7"}, "data": {"old": null, "never": null}})]);
    }

    #[test]
    fn what_is_in_use_is_written_before_it_is_too_old() {
        let every = |period, after| {
            let seconds = Duration::from_secs;
            CacheGc { cache_gc_period: seconds(period), cache_gc_after_not_hit: seconds(after) }.hit_every().as_secs()
        };
        assert_eq!((every(0, 30), every(60, 30), every(60, 3600)), (60, 15, 60));
    }
}
