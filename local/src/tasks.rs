//! The tasks of a run: `http` templates, carried out in this process as an agent would on a cluster.

use std::collections::HashMap;
use std::sync::Arc;

use tiphys_api::{NodePhase, NodeResult, Template};
use tiphys_engine::{Fact, NodeId, TaskRequest};
use tiphys_executor::tasks::http::{Clients, Secrets, execute};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use crate::documents::Documents;
use crate::pod::{Progress, Shop};

/// Requests under way together (argo: agent.go).
const WORKERS: usize = 16;

/// The tasks of a run that have not been taken back.
pub(crate) struct Tasks {
    shop: Arc<Shop>,
    to: mpsc::UnboundedSender<Progress>,
    /// Made for the first task; most runs have none.
    clients: Option<Result<Arc<Clients>, String>>,
    places: Arc<Semaphore>,
    under_way: HashMap<NodeId, AbortHandle>,
}

impl Tasks {
    pub fn new(shop: Arc<Shop>, to: mpsc::UnboundedSender<Progress>) -> Tasks {
        Tasks { shop, to, clients: None, places: Arc::new(Semaphore::new(WORKERS)), under_way: HashMap::new() }
    }

    /// Begins a task, now or when there is room. One that is there already is not begun again.
    pub fn begin(&mut self, request: TaskRequest) {
        let TaskRequest { node, template, .. } = request;
        if self.under_way.contains_key(&node) {
            return;
        }
        let clients = self.clients.get_or_insert_with(|| Clients::new(None).map(Arc::new)).clone();
        let (shop, places, to) = (self.shop.clone(), self.places.clone(), self.to.clone());
        let known = node.clone();
        let task = tokio::spawn(async move {
            let result = match clients {
                Err(reason) => Err(reason),
                Ok(clients) => {
                    // It is never closed.
                    let _place = places.acquire().await;
                    carry_out(&clients, &shop.maker.documents, &template).await
                }
            };
            let failed = |message| NodeResult { phase: NodePhase::Failed, message, ..NodeResult::default() };
            let result = Box::new(result.unwrap_or_else(failed));
            // The driver going away ends everything: there is nobody left to tell.
            let _ = to.send(Progress::Fact(Fact::NodeResult { node, result }));
        });
        self.under_way.insert(known, task.abort_handle());
    }

    /// Takes a task back.
    pub fn end(&mut self, node: &NodeId) {
        if let Some(task) = self.under_way.remove(node) {
            task.abort();
        }
    }

    /// Takes all tasks back.
    pub fn end_all(&mut self) {
        self.under_way.drain().for_each(|(_, task)| task.abort());
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.under_way.is_empty()
    }
}

async fn carry_out(clients: &Clients, documents: &Documents, template: &Template) -> Result<NodeResult, String> {
    let http = template.http.as_deref().ok_or_else(|| format!("template '{}' is no http template", template.name))?;
    let result = execute(clients, documents, http).await?;
    serde_json::from_value(result).map_err(|error| error.to_string())
}

impl Secrets for Documents {
    async fn bytes(&self, name: &str, key: &str) -> Result<Vec<u8>, String> {
        let secret = self.secret(name).ok_or_else(|| format!("there is no Secret {name:?}; give it with --with"))?;
        let value = secret.keys.get(key).ok_or_else(|| format!("secret {name:?} does not have the key {key:?}"))?;
        Ok(value.to_vec())
    }
}
