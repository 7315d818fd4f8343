//! Effects on Pods: made, ended, found again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::{Api as KubeApi, AttachParams};
use serde_json::{Value, json};
use tiphys_api::{ArtifactRepositoryRefStatus, WorkflowSpec};
use tiphys_contract::{TraceContext, container, label, path};
use tiphys_engine::{Fact, NodeId, PodRequest, is_collected};
use tiphys_expr::{ambient, template};
use tiphys_otlp::Outcome;
use tiphys_podspec::{Error as PodError, Input, PodConfig, Request, build};
use tokio::sync::OnceCell;
use tokio::sync::mpsc::UnboundedSender;

use super::message::Message;
use super::prepare::Prepared;
use super::release::Release;
use super::trace::Begun;
use crate::cluster::Cluster;

use tiphys_kubernetes::{ApiError, Backoff, Kind, METADATA_ALONE, Pod};

/// What a node says whose Pod may not be created yet. argo: workflow/controller/errors.go, ErrResourceRateLimitReached.
const RATE_LIMITED: &str = "resource creation rate-limit reached";

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
    /// The artifact repository, as far as it is known.
    pub repository: Option<Box<ArtifactRepositoryRefStatus>>,
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
        let Preparation { prepared, repository, span } = made;
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
        let made = match prepared.get_or_try_init(|| self.prepare(&spec, repository)).await {
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
                Err(error) => self.learn(Arc::make_mut(&mut config), error).await?,
            }
        }
    }

    /// Looks up what a Pod could not be made without.
    pub(super) async fn learn(&self, config: &mut PodConfig, missing: PodError) -> Result<(), String> {
        match missing {
            PodError::TokenSecretUnknown { service_account } => {
                let secret = self.token_secret(&service_account).await?;
                config.token_secrets.insert(service_account, secret);
                Ok(())
            }
            PodError::CommandUnknown { image, container } => {
                let found = self.cluster.images.command(&image).await;
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
        let object: Value = self.read(&path).await.map_err(|error| error.to_string())?;
        let listed = object.pointer("/secrets/0/name").and_then(Value::as_str);
        let annotated = object["metadata"]["annotations"][ANNOTATION].as_str();
        let name = listed.or(annotated).map(str::to_owned);
        Ok(name.unwrap_or_else(|| format!("{account}.service-account-token")))
    }

    /// Sends a request when it is its turn.
    async fn in_turn<F: Future>(&self, request: F) -> F::Output {
        let _turn = self.cluster.other.acquire().await;
        request.await
    }

    /// Reads an object, again for as long as that can help.
    pub async fn read<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        let mut backoff = Backoff::default();
        loop {
            match self.in_turn(self.cluster.api.get(path)).await {
                Err(error) if error.is_transient() => error.wait(&mut backoff).await,
                answer => return answer,
            }
        }
    }

    /// Makes an object, again for as long as that can help. Tells whether it was made now, and not there already.
    pub async fn make(&self, collection: &str, object: &Value) -> Result<bool, ApiError> {
        let mut backoff = Backoff::default();
        loop {
            match self.in_turn(self.cluster.api.create(collection, object)).await {
                Err(error) if error.is_already_there() => return Ok(false),
                Err(error) if error.is_transient() => error.wait(&mut backoff).await,
                answer => return answer.map(|_| true),
            }
        }
    }

    /// Changes an object, again for as long as that can help.
    pub async fn change(&self, path: &str, patch: &Value) -> Result<(), ApiError> {
        let mut backoff = Backoff::default();
        loop {
            match self.in_turn(self.cluster.api.patch(path, patch)).await {
                Err(error) if error.is_transient() => error.wait(&mut backoff).await,
                answer => return answer.map(|_| ()),
            }
        }
    }

    /// Deletes an object, again for as long as that can help.
    pub async fn remove(&self, path: &str, options: &Value) -> Result<(), ApiError> {
        let mut backoff = Backoff::default();
        loop {
            match self.in_turn(self.cluster.api.delete(path, options)).await {
                Err(error) if error.is_transient() => error.wait(&mut backoff).await,
                answer => return answer,
            }
        }
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
        // It has just been made: what is known of it is what was asked for, and its metadata.
        match api.create_as(pods.path(), pod, METADATA_ALONE.1).await {
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
        match self.read::<Pod>(&path).await {
            Ok(pod) if pod.metadata.uid == uid => self.tell(Message::Pod(Box::new(pod), Instant::now())),
            Err(error) if !error.is_not_found() => {
                tracing::warn!(namespace = %self.namespace, pod = %name, %error, "a Pod cannot be read");
            }
            _ => self.tell(Message::Fact(Fact::PodGone { node })),
        }
    }

    /// Deletes a Pod.
    pub async fn delete(self, name: String, uid: String, grace: Option<i64>) {
        let path = Kind::Pod.within(&self.namespace).named(&name);
        let mut options = json!({"propagationPolicy": "Background"});
        if !uid.is_empty() {
            options["preconditions"] = json!({"uid": uid});
        }
        if let Some(seconds) = grace {
            options["gracePeriodSeconds"] = seconds.into();
        }
        match self.remove(&path, &options).await {
            // With another uid, another Pod has the name by now.
            Err(error) if !error.is_conflict() => {
                tracing::error!(namespace = %self.namespace, pod = %name, %error, "a Pod cannot be deleted");
            }
            _ => {}
        }
    }

    /// Lets go of a Pod.
    pub async fn release(self, release: Release, name: String, uid: String) {
        match release {
            Release::Later => {}
            Release::Label => self.label_completed(name).await,
            Release::Delete(delay) => {
                tokio::time::sleep(delay).await;
                let grace = self.cluster.config().pod_gc_grace;
                self.delete(name, uid, grace).await;
            }
        }
    }

    /// Labels a Pod as one from which nothing more is wanted. argo: labelPodCompleted.
    async fn label_completed(self, name: String) {
        let path = Kind::Pod.within(&self.namespace).named(&name);
        let patch = json!({"metadata": {"labels": {label::COMPLETED: "true"}}});
        let mut backoff = Backoff::default();
        let _turn = self.cluster.labelling.acquire().await;
        loop {
            match self.cluster.api.patch_strategically(&path, &patch).await {
                Err(error) if error.is_transient() => error.wait(&mut backoff).await,
                Err(error) if !error.is_not_found() => {
                    return tracing::error!(namespace = %self.namespace, pod = %name, %error, "a Pod cannot be labelled");
                }
                _ => return,
            }
        }
    }

    /// Ends a Pod in which nobody can be told to: its deadline has passed, upon which the kubelet signals every container,
    /// and kills it after the grace period. The Pod stays, and with it what its containers wrote.
    pub async fn expire(self, name: String, uid: String) {
        let path = Kind::Pod.within(&self.namespace).named(&name);
        let metadata = json!({"uid": uid, "annotations": {label::ENDED: "true"}});
        let patch = json!({"metadata": metadata, "spec": {"activeDeadlineSeconds": 1}});
        let mut backoff = Backoff::default();
        loop {
            match self.in_turn(self.cluster.api.patch_strategically(&path, &patch)).await {
                Err(error) if error.is_transient() => error.wait(&mut backoff).await,
                // With another uid, another Pod has the name by now.
                Err(error) if !error.is_not_found() && !error.is_conflict() => {
                    return tracing::error!(namespace = %self.namespace, pod = %name, %error, "a Pod cannot be ended");
                }
                _ => return,
            }
        }
    }

    /// Signals containers: SIGTERM at once, SIGKILL when the grace period is over. The commands are those that Argo's
    /// controller runs in a container; a Pod can name its own for each. argo: util/signal.go.
    pub async fn signal(self, pod: String, commands: Vec<(String, Vec<String>)>, after: Duration) {
        tokio::time::sleep(after).await;
        for (container, command) in commands {
            let _turn = self.cluster.other.acquire().await;
            let signalled = self.exec(&pod, &container, command).await;
            // It may have ended by itself in the meantime; then there is nothing to exec in.
            if let Err(error) = signalled {
                tracing::debug!(namespace = %self.namespace, pod, container, error, "not signalled");
            }
        }
    }

    async fn exec(&self, pod: &str, container: &str, command: Vec<String>) -> Result<(), String> {
        const LONGEST: Duration = Duration::from_secs(30);
        let pods: KubeApi<k8s_openapi::api::core::v1::Pod> =
            KubeApi::namespaced(self.cluster.api.client().clone(), &self.namespace);
        let how = AttachParams { container: Some(container.to_owned()), stderr: true, ..AttachParams::default() };
        let run = async {
            let mut process = pods.exec(pod, command, &how).await.map_err(|error| error.to_string())?;
            let status = process.take_status();
            let _ = process.join().await;
            match status {
                Some(status) => match status.await {
                    Some(status) if status.status.as_deref() == Some("Failure") => {
                        Err(status.message.unwrap_or_default())
                    }
                    _ => Ok(()),
                },
                None => Ok(()),
            }
        };
        tokio::time::timeout(LONGEST, run).await.unwrap_or_else(|_| Err("no answer".into()))
    }
}

/// What ends a container from inside: the Pod's own command for it, else the executor's, where it lies in this Pod.
pub(super) fn kill_command(
    annotations: &BTreeMap<String, String>,
    initless: bool,
    container: &str,
    signal: i32,
) -> Vec<String> {
    let executor = match container {
        container::SUPERVISOR => "argoexec",
        _ if initless => path::IMAGE_EMISSARY,
        _ => path::EMISSARY,
    };
    let own = annotations.get(&format!("{}{container}", label::KILL_COMMAND_PREFIX));
    let own = own.and_then(|text| serde_json::from_str::<Vec<String>>(text).ok());
    match own {
        Some(words) => words.into_iter().map(|word| word.replace("%d", &signal.to_string())).collect(),
        None => [executor, "kill", &signal.to_string(), "1"].map(str::to_owned).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_names_its_own_way_to_end() {
        let annotations =
            BTreeMap::from([(format!("{}side", label::KILL_COMMAND_PREFIX), r#"["stop","-%d"]"#.to_owned())]);
        assert_eq!(kill_command(&annotations, false, "side", 15), ["stop", "-15"]);
        assert_eq!(kill_command(&annotations, false, "main", 9), ["/var/run/argo/argoexec", "kill", "9", "1"]);
    }

    #[test]
    fn a_pod_without_init_container_has_the_executor_elsewhere() {
        let of = |container| kill_command(&BTreeMap::new(), true, container, 15)[0].clone();
        assert_eq!((of("main").as_str(), of("supervisor").as_str()), ("/argo-bin/bin/argoexec", "argoexec"));
    }
}
