//! Effects on Pods: made, found again; and requests as all of a workflow's are sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tiphys_api::WorkflowSpec;
use tiphys_contract::TraceContext;
use tiphys_engine::{Fact, NodeId, PodRequest, is_collected};
use tiphys_expr::{ambient, template};
use tiphys_otlp::Outcome;
use tiphys_podspec::{Error as PodError, Input, PodConfig, Request, build};
use tokio::sync::OnceCell;
use tokio::sync::mpsc::UnboundedSender;

use super::message::Message;
use super::prepare::{Known, Prepared};
use super::trace::Begun;
use crate::cluster::Cluster;

use tiphys_kubernetes::{ApiError, Backoff, Kind, METADATA_ALONE, Pod};

/// What a node says whose Pod may not be created yet. argo: workflow/controller/errors.go, ErrResourceRateLimitReached.
const RATE_LIMITED: &str = "resource creation rate-limit reached";

/// What a cluster may drop from a Pod without a word. argo: workflowpod_submit.go, submitWorkflowPod.
struct Optional {
    /// In the Pod's spec.
    field: &'static str,
    /// Of the event that tells it.
    reason: &'static str,
    /// What it says.
    advice: &'static str,
}

const OPTIONAL: [Optional; 2] = [
    Optional {
        field: "resources",
        reason: "PodLevelResourcesDropped",
        advice: "podResources; the PodLevelResources feature gate (beta since Kubernetes v1.34) is not enabled on this cluster",
    },
    Optional {
        field: "resourceClaims",
        reason: "ResourceClaimsDropped",
        advice: "resourceClaims; check that the DynamicResourceAllocation feature gate is enabled on this cluster and that no \
                 admission webhook removed the field",
    },
];

/// What was asked for and is not in the Pod that was made.
fn dropped(asked: &Value, made: &Value) -> impl Iterator<Item = &'static Optional> {
    let has = |pod: &Value, field: &str| match &pod["spec"][field] {
        Value::Array(list) => !list.is_empty(),
        value => !value.is_null(),
    };
    OPTIONAL.iter().filter(move |one| has(asked, one.field) && !has(made, one.field))
}

/// Where a workflow's Pods are made.
#[derive(Clone)]
pub(super) struct Workplace {
    pub cluster: Arc<Cluster>,
    pub to: UnboundedSender<Message>,
    pub namespace: Arc<str>,
    pub workflow: Arc<str>,
    pub uid: Arc<str>,
}

/// What is made before the first Pod.
pub(super) struct Preparation {
    /// Made once.
    pub prepared: Arc<OnceCell<Prepared>>,
    /// What of that is known already.
    pub known: Known,
    /// What is told of the Pod's making, where anything is.
    pub span: Option<Begun>,
}

impl Workplace {
    pub fn tell(&self, message: Message) {
        // Nobody listens once the workflow is gone.
        let _ = self.to.send(message);
    }

    /// How long to wait before another Pod is created, where there is a limit.
    pub fn reserve(&self) -> Option<Duration> {
        let rate = self.cluster.pod_rate()?;
        let wait = self.cluster.pod_rate.reserve(rate, Instant::now());
        self.cluster.metrics.pod_delayed(wait);
        Some(wait).filter(|wait| !wait.is_zero())
    }

    /// Makes a node's Pod; tells what came of it, and tries again for as long as that can help. `since` is when the Pod ended
    /// after which this one comes.
    pub async fn create(self, request: PodRequest, spec: Arc<WorkflowSpec>, made: Preparation, since: Option<Instant>) {
        let Preparation { prepared, known, span } = made;
        let end = |span: Option<Begun>, outcome| {
            if let Some(span) = span {
                span.end(outcome);
            }
        };
        let node = request.node.clone();
        let refused =
            |message: String, transient| Message::Fact(Fact::PodRefused { node: node.clone(), message, transient });
        if let Some(wait) = self.reserve() {
            self.tell(refused(RATE_LIMITED.to_owned(), true));
            tokio::time::sleep(wait).await;
        }
        let made = match prepared.get_or_try_init(|| self.prepare(&spec, known)).await {
            Ok(prepared) => match self.guard(prepared, &spec, &request).await {
                Ok(()) => self.build(request, &spec, prepared, span.as_ref().map(Begun::context)).await,
                Err(message) => Err(message),
            },
            Err(message) => Err(message),
        };
        let (pod, config_map) = match made {
            Ok(made) => made,
            Err(message) => {
                end(span, Outcome::Failed(message.clone()));
                return self.tell(refused(message, false));
            }
        };
        let mut backoff = Backoff::default();
        let mut told = String::new();
        loop {
            let error = match self.submit(&pod, config_map.as_ref()).await {
                Ok(pod) => {
                    since.iter().for_each(|since| self.cluster.metrics.hopped(since.elapsed()));
                    end(span, Outcome::Unset);
                    return self.tell(Message::Created { node, pod: Box::new(pod) });
                }
                Err(error) => error,
            };
            if !error.is_transient() {
                end(span, Outcome::Failed(error.to_string()));
                return self.tell(refused(error.to_string(), false));
            }
            let message = error.to_string();
            if message != told {
                self.tell(refused(message.clone(), true));
                told = message;
            }
            error.wait(&mut backoff).await;
        }
    }

    /// Before the first Pod with artifacts that are collected, the workflow is kept from going without them.
    async fn guard(&self, prepared: &Prepared, spec: &WorkflowSpec, request: &PodRequest) -> Result<(), String> {
        if !self.cluster.config().keeps_artifacts && is_collected(spec, &request.template) {
            let guarded = prepared.guarded.get_or_try_init(|| self.guard_artifacts()).await;
            guarded.map_err(|error| format!("the finalizer for artifact collection is not set: {error}"))?;
        }
        Ok(())
    }

    /// The Pod of a node, and the ConfigMap that it mounts.
    pub async fn build(
        &self,
        request: PodRequest,
        spec: &WorkflowSpec,
        prepared: &Prepared,
        trace: Option<TraceContext>,
    ) -> Result<(Value, Option<Value>), String> {
        let mut config = prepared.config.clone();
        let variables = request.all_variables();
        let request = Request {
            node_id: request.node.to_string(),
            node_name: request.node_name,
            pod_name: request.pod_name,
            template: request.template,
            boundary: request.boundary,
            on_exit: request.on_exit,
            include_script_output: request.include_script_output,
            deadline: request.deadline,
            active_deadline_seconds: request.active_deadline_seconds,
            volumes: request.volumes.into_iter().chain(prepared.claims.iter().cloned()).collect(),
            avoid_hosts: request.avoid_hosts,
            trace,
        };
        let plain = self.cluster.config().engine_base.no_expressions;
        loop {
            let built = build(&Input {
                workflow_name: &self.workflow,
                namespace: &self.namespace,
                workflow_uid: &self.uid,
                spec,
                request: &request,
                config: &config,
                substitute: &|text| {
                    let replace = || template::replace(text, &variables, true).map_err(|error| error.to_string());
                    ambient::without_expressions(plain, replace)
                },
            });
            match built {
                Ok(pod) => return Ok((pod.to_value(), pod.config_map)),
                Err(error) => self.learn(spec, Arc::make_mut(&mut config), error).await?,
            }
        }
    }

    /// Looks up what a Pod could not be made without.
    pub(super) async fn learn(
        &self,
        spec: &WorkflowSpec,
        config: &mut PodConfig,
        missing: PodError,
    ) -> Result<(), String> {
        match missing {
            PodError::TokenSecretUnknown { service_account } => {
                let secret = self.token_secret(&service_account).await?;
                config.token_secrets.insert(service_account, secret);
                Ok(())
            }
            PodError::CommandUnknown { image, container } => {
                let asker = self.asker(spec);
                let found = self.cluster.images.command(&image, asker.clone(), self.pull_secrets(&asker)).await;
                let command = found.map_err(|reason| {
                    format!(
                        "container `{container}` names no command, and what its image `{image}` runs is not known \
                         ({reason}): name the `command` in the template, or list the image under `images` in the \
                         controller's configuration"
                    )
                })?;
                config.images.insert(image, command);
                Ok(())
            }
            error => Err(error.to_string()),
        }
    }

    /// The Secret with a service account's token. argo: operator.go, getServiceAccountTokenName.
    async fn token_secret(&self, account: &str) -> Result<String, String> {
        const ANNOTATION: &str = "workflows.argoproj.io/service-account-token.name";
        let path = Kind::ServiceAccount.within(&self.namespace).named(account);
        let object: Value = self.cluster.read(&path).await.map_err(|error| error.to_string())?;
        let listed = object.pointer("/secrets/0/name").and_then(Value::as_str);
        let annotated = object["metadata"]["annotations"][ANNOTATION].as_str();
        let name = listed.or(annotated).map(str::to_owned);
        Ok(name.unwrap_or_else(|| format!("{account}.service-account-token")))
    }

    /// Creates the Pod, and before it the ConfigMap that it mounts.
    async fn submit(&self, pod: &Value, config_map: Option<&Value>) -> Result<Pod, ApiError> {
        let _turn = self.cluster.creating.acquire().await;
        let api = &self.cluster.api;
        if let Some(map) = config_map {
            match api.create(Kind::ConfigMap.within(&self.namespace).path(), map).await {
                Err(error) if !error.is_already_there() => return Err(error),
                _ => {}
            }
        }
        let pods = Kind::Pod.within(&self.namespace);
        let created = match dropped(pod, &Value::Null).next() {
            // It has just been made: what is known of it is what was asked for, and its metadata.
            None => api.create_as(pods.path(), pod, METADATA_ALONE.1).await,
            Some(_) => api.create(pods.path(), pod).await.and_then(|made| {
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                for Optional { reason, advice, .. } in dropped(pod, &made) {
                    self.warn(reason, &format!("pod \"{name}\": the API server dropped {advice}"));
                }
                Ok(serde_json::from_value(made)?)
            }),
        };
        match created {
            Err(error) if error.is_already_there() => {
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                let found: Pod = api.get(&pods.named(name)).await?;
                // Argo takes any Pod of that name for its own. One of another workflow would give its results to this one.
                if found.metadata.is_of(&self.uid) { Ok(found) } else { Err(error) }
            }
            answer => answer,
        }
    }

    /// Whether a Pod that was not in a list is really gone.
    pub async fn look_for(self, node: NodeId, name: String, uid: String) {
        let path = Kind::Pod.within(&self.namespace).named(&name);
        match self.cluster.read::<Pod>(&path).await {
            Ok(pod) if pod.metadata.uid == uid => self.tell(Message::Pod(Box::new(pod), Instant::now())),
            Err(error) if !error.is_not_found() => {
                tracing::warn!(namespace = %self.namespace, pod = %name, %error, "a Pod cannot be read");
            }
            _ => self.tell(Message::Fact(Fact::PodGone { node })),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::api_server::{ApiServer, place};
    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn what_the_cluster_drops_from_a_pod_is_told() {
        let server = ApiServer::default().dropping("resourceClaims");
        let (place, _inbox) = place(server.cluster(Config::default()));
        for (name, spec) in [
            ("plain", json!({})),
            ("kept", json!({"resources": {"limits": {"cpu": "1"}}})),
            ("dropped", json!({"resources": {}, "resourceClaims": [{"name": "gpu"}]})),
        ] {
            place.submit(&json!({"metadata": {"name": name}, "spec": spec}), None).await.unwrap();
        }
        let events = || server.changes().into_iter().filter(|(_, path, _)| path.ends_with("/events"));
        while events().next().is_none() {
            tokio::task::yield_now().await;
        }
        let told: Vec<Value> =
            events().map(|(_, _, event)| json!([event["reason"], event["type"], event["message"]])).collect();
        let message = "pod \"dropped\": the API server dropped resourceClaims; check that the DynamicResourceAllocation \
            feature gate is enabled on this cluster and that no admission webhook removed the field";
        assert_eq!(told, [json!(["ResourceClaimsDropped", "Warning", message])]);
    }

    #[tokio::test]
    async fn a_config_map_comes_before_the_pod_that_mounts_it() {
        let server = ApiServer::default();
        let (place, _inbox) = place(server.cluster(Config::default()));
        let named = |name: &str| json!({"metadata": {"name": name}});
        place.submit(&named("pod"), Some(&named("map"))).await.unwrap();
        let made: Vec<String> = server.changes().into_iter().map(|(_, path, _)| path).collect();
        assert_eq!(made, ["/api/v1/namespaces/team/configmaps", "/api/v1/namespaces/team/pods"]);
    }
}
