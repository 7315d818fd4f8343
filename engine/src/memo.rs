//! Memoization: a result with the same key is not computed again. argo: operator.go, executeTemplate; controller/cache.

use tiphys_api::{MemoizationStatus, Memoize, NodePhase, NodeStatus, NodeType};

use crate::call::Prepared;
use crate::fact::MemoEntry;
use crate::frame::{Body, Key};
use crate::id::NodeId;
use crate::node::{Birth, node_type};
use crate::plan::{Action, Need};
use crate::run::{Run, Stop};

/// The status of a node whose result is to be kept. argo: operator.go, initializeExecutableNode.
pub(crate) fn not_kept_yet(memoize: &Memoize) -> Box<MemoizationStatus> {
    let cache = memoize.cache.as_ref().and_then(|cache| cache.config_map.as_ref());
    Box::new(MemoizationStatus {
        hit: Some(false),
        key: memoize.key.clone(),
        cache_name: cache.map(|map| map.name.clone()).unwrap_or_default(),
        ..MemoizationStatus::default()
    })
}

impl Run {
    /// Looks the template's key up. Returns true where the node is over because of a hit.
    pub(crate) fn memoized(&mut self, key: Key, prepared: &Prepared) -> Result<bool, Stop> {
        let Some(memoize) = prepared.processed.memoize.as_deref() else { return Ok(false) };
        let cache = memoize.cache.as_ref().and_then(|cache| cache.config_map.as_ref()).map(|map| map.name.clone());
        let cache = cache.ok_or_else(|| Stop::Failed("cache could not be found or created".into()))?;
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let bytes = memoize.key.as_bytes();
        if !bytes.first().is_some_and(u8::is_ascii_alphanumeric) || !bytes.iter().all(|byte| legal(*byte)) {
            return Err(Stop::Failed(format!("invalid cache key: {}", memoize.key)));
        }
        let found = match self.memos.remove(&(cache.clone(), memoize.key.clone())) {
            None => return Err(Stop::Need(Need::Memo { cache, key: memoize.key.clone() })),
            Some(found) => found.map_err(Stop::Failed)?,
        };
        // The next node with this key asks again: by then the entry may be there.
        self.asked.remove(&Need::Memo { cache: cache.clone(), key: memoize.key.clone() });
        let max_age = match memoize.max_age.as_str() {
            "" => None,
            text => Some(
                tiphys_expr::go::parse_duration(text)
                    .map_err(|error| Stop::Failed(format!("invalid maxAge: {error}")))?,
            ),
        };
        let is_fresh = |entry: &MemoEntry| {
            let age = self.now.duration_since(entry.created).as_nanos();
            !entry.node.is_empty() && max_age.is_none_or(|longest| age <= i128::from(longest))
        };
        let fresh = found.as_ref().is_some_and(is_fresh);
        let status = MemoizationStatus { hit: Some(fresh), ..*not_kept_yet(memoize) };
        let retried = prepared.processed.retry_strategy.is_some() || self.spec.retry_strategy.is_some();
        // What is taken from the cache has the type of its template, retries of the whole workflow aside.
        let retried = if fresh { prepared.processed.retry_strategy.is_some() } else { retried };
        let kind = if retried { NodeType::Retry } else { node_type(&prepared.processed) };
        let phase = match (fresh, kind) {
            (true, _) => NodePhase::Succeeded,
            (false, NodeType::Steps | NodeType::Dag | NodeType::Retry | NodeType::Suspend) => NodePhase::Running,
            (false, _) => NodePhase::Pending,
        };
        let reports = kind == NodeType::Pod && !prepared.processed.is_daemon();
        if !self.has_node(key) {
            self.make_node(key, Birth { template: Some(&prepared.processed), reports, ..Birth::of(kind, phase) });
        }
        let id = self.frames[key].id.clone();
        let outputs = found.filter(|_| fresh).and_then(|entry| entry.outputs).map(Box::new);
        self.change(&id, |node| {
            node.memoization_status = Some(Box::new(status));
            node.outputs = outputs;
        });
        if fresh {
            self.wait_no_longer(key);
            self.mark(&id, NodePhase::Succeeded, None);
            self.frames[key].body = Body::Closed;
            self.tell(key);
        } else {
            self.link_to_parent(key);
        }
        Ok(fresh)
    }

    /// After a restart it is not known which results were kept.
    pub(crate) fn save_memos_again(&mut self) {
        let kept = |node: &&NodeStatus| !matches!(node.r#type, NodeType::Retry | NodeType::Suspend);
        let computed = self.wf.status.nodes.values().filter(kept).filter(|node| node.phase == NodePhase::Succeeded);
        let computed = computed.filter_map(|node| {
            let status = node.memoization_status.as_ref().filter(|status| status.hit != Some(true))?;
            let (cache, key) = (status.cache_name.clone(), status.key.clone());
            let created = node.finished_at.map_or(self.now, |time| time.0);
            Some(Action::SaveMemo { cache, key, node: NodeId::from(node.id.as_str()), created })
        });
        let actions: Vec<Action> = computed.collect();
        self.out.actions.extend(actions);
    }

    /// A node with a key succeeded: its result is kept.
    pub(crate) fn save_memo(&mut self, key: Key) {
        let id = self.frames[key].id.clone();
        let Some(node) = self.node(id.as_str()) else { return };
        let created = node.finished_at.map_or(self.now, |time| time.0);
        let Some(status) = node.memoization_status.as_ref().filter(|status| status.hit != Some(true)) else { return };
        let (cache, key) = (status.cache_name.clone(), status.key.clone());
        self.act(Action::SaveMemo { cache, key, node: id, created });
    }
}
