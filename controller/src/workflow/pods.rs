//! Effects on Pods: made, ended, found again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::api::{Api as KubeApi, AttachParams};
use serde_json::{Value, json};
use tiphys_api::{ArtifactRepositoryRefStatus, WorkflowSpec};
use tiphys_contract::{TraceContext, container, label, path};
use tiphys_engine::{Fact, NodeId, PodRequest, is_collected};
use tiphys_expr::template;
use tiphys_otlp::Outcome;
use tiphys_podspec::{Error as PodError, Input, PodConfig, Request, build};
use tokio::sync::OnceCell;
use tokio::sync::mpsc::UnboundedSender;

use super::message::Message;
use super::prepare::Prepared;
use super::release::Release;
use super::trace::Begun;
use crate::cluster::Cluster;

use tiphys_kubernetes::{ApiError, Backoff, Kind, METADATA_ALONE, Metadata, Pod, SpecContainer};

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

/// Takes values out of an object's finalizers, by a strategic merge patch.
const UNGUARD: &str = "$deleteFromPrimitiveList/finalizers";

/// A Pod that is let go of.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    pub name: String,
    pub uid: String,
    /// Whether it has the finalizer that keeps it until its end was seen.
    pub guarded: bool,
}

impl From<Metadata> for Leaving {
    fn from(metadata: Metadata) -> Leaving {
        Leaving { guarded: is_guarded(&metadata), name: metadata.name, uid: metadata.uid }
    }
}

/// Whether a Pod stays until its end was seen, whoever deletes it.
pub(crate) fn is_guarded(metadata: &Metadata) -> bool {
    metadata.finalizers.iter().any(|one| one == label::STATUS_FINALIZER)
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
        loop {
            let built = build(&Input {
                workflow_name: &self.workflow,
                namespace: &self.namespace,
                workflow_uid: &self.uid,
                spec,
                request: &request,
                config: &config,
                substitute: &|text| template::replace(text, &variables, true).map_err(|error| error.to_string()),
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
        let object: Value = self.read(&path).await.map_err(|error| error.to_string())?;
        let listed = object.pointer("/secrets/0/name").and_then(Value::as_str);
        let annotated = object["metadata"]["annotations"][ANNOTATION].as_str();
        let name = listed.or(annotated).map(str::to_owned);
        Ok(name.unwrap_or_else(|| format!("{account}.service-account-token")))
    }

    /// Sends a request when it is its turn.
    pub(super) async fn in_turn<F: Future>(&self, request: F) -> F::Output {
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
        match self.read::<Pod>(&path).await {
            Ok(pod) if pod.metadata.uid == uid => self.tell(Message::Pod(Box::new(pod), Instant::now())),
            Err(error) if !error.is_not_found() => {
                tracing::warn!(namespace = %self.namespace, pod = %name, %error, "a Pod cannot be read");
            }
            _ => self.tell(Message::Fact(Fact::PodGone { node })),
        }
    }

    /// Deletes a Pod.
    pub async fn delete(self, pod: Leaving, grace: Option<i64>) {
        if pod.guarded {
            self.unguard(&pod).await;
        }
        let Leaving { name, uid, .. } = pod;
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
    pub async fn release(self, release: Release, pod: Leaving) {
        match release {
            Release::Later if pod.guarded => self.unguard(&pod).await,
            Release::Later => {}
            Release::Label => self.label_completed(pod).await,
            Release::Delete(delay) => {
                tokio::time::sleep(delay).await;
                let grace = self.cluster.config().pod_gc_grace;
                self.delete(pod, grace).await;
            }
        }
    }

    /// Takes the finalizer off a Pod of which everything is known, or nothing is wanted, when it is time. argo:
    /// workflow/controller/pod/queue.go, removeFinalizer.
    pub async fn unguard_after(self, wait: Duration, pod: Leaving) {
        tokio::time::sleep(wait).await;
        self.unguard(&pod).await;
    }

    async fn unguard(&self, pod: &Leaving) {
        let path = Kind::Pod.within(&self.namespace).named(&pod.name);
        let patch = json!({"metadata": {"uid": pod.uid, UNGUARD: [label::STATUS_FINALIZER]}});
        let mut backoff = Backoff::default();
        loop {
            match self.in_turn(self.cluster.api.patch_strategically(&path, &patch)).await {
                Err(error) if error.is_transient() => error.wait(&mut backoff).await,
                // With another uid, another Pod has the name by now.
                Err(error) if !error.is_not_found() && !error.is_conflict() => {
                    let namespace = &self.namespace;
                    return tracing::error!(%namespace, pod = %pod.name, %error, "a Pod keeps its finalizer");
                }
                _ => return,
            }
        }
    }

    /// Labels a Pod as one from which nothing more is wanted. argo: labelPodCompleted.
    async fn label_completed(self, pod: Leaving) {
        let Leaving { name, guarded, .. } = pod;
        let path = Kind::Pod.within(&self.namespace).named(&name);
        let mut patch = json!({"metadata": {"labels": {label::COMPLETED: "true"}}});
        if guarded {
            patch["metadata"][UNGUARD] = json!([label::STATUS_FINALIZER]);
        }
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

/// Where a container has the executor: by its name in our own image, at the path of what is mounted in the others. None in one
/// that others have put into the Pod, as a mesh's sidecar. argo: workflow/signal/signal.go, killCommand.
pub(super) fn executor_in(containers: &[SpecContainer], name: &str) -> Option<&'static str> {
    if [container::WAIT, container::SUPERVISOR].contains(&name) {
        return Some("argoexec");
    }
    let container = containers.iter().find(|one| one.name == name)?;
    let mounts = |path| container.volume_mounts.iter().any(|mount| mount.mount_path == path);
    // Without an init container nobody has copied it to the shared volume, which is mounted as well.
    if mounts(path::IMAGE_VOLUME) {
        return Some(path::IMAGE_EMISSARY);
    }
    mounts(path::SHARED).then_some(path::EMISSARY)
}

/// What ends a container from inside: the Pod's own command for it, else that of the executor, else the shell's.
pub(super) fn kill_command(
    annotations: &BTreeMap<String, String>,
    executor: Option<&str>,
    container: &str,
    signal: i32,
) -> Vec<String> {
    let own = annotations.get(&format!("{}{container}", label::KILL_COMMAND_PREFIX));
    let own = own.and_then(|text| serde_json::from_str::<Vec<String>>(text).ok());
    match (own, executor) {
        (Some(words), _) => words.into_iter().map(|word| word.replace("%d", &signal.to_string())).collect(),
        (None, Some(executor)) => [executor, "kill", &signal.to_string(), "1"].map(str::to_owned).into(),
        (None, None) => ["/bin/sh", "-c", &format!("kill -{signal} 1")].map(str::to_owned).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::api_server::{ApiServer, place};
    use super::*;
    use crate::config::Config;

    /// What is asked of Pods, by verb and body.
    async fn asked(doing: impl AsyncFnOnce(Workplace)) -> Vec<(String, Value)> {
        let server = ApiServer::default().with("/api/v1/namespaces/team/pods/p", json!({}));
        let (place, _inbox) = place(server.cluster(Config::default()));
        doing(place).await;
        server.changes().into_iter().map(|(method, _, body)| (method.to_string(), body)).collect()
    }

    #[tokio::test]
    async fn a_pod_that_is_let_go_of_keeps_no_finalizer() {
        let pod = |finalizers: &[&str]| {
            Leaving::from(Metadata {
                name: "p".into(),
                uid: "1".into(),
                finalizers: finalizers.iter().map(|&one| one.to_owned()).collect(),
                ..Metadata::default()
            })
        };
        let (free, guarded) = (pod(&["other"]), pod(&["other", "workflows.argoproj.io/status"]));
        let off = json!(["workflows.argoproj.io/status"]);
        let unguard = ("PATCH".to_owned(), json!({"metadata": {"uid": "1", UNGUARD: off}}));
        let label = |more: Value| {
            let mut metadata = json!({"labels": {"workflows.argoproj.io/completed": "true"}});
            metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ("PATCH".to_owned(), json!({"metadata": metadata}))
        };
        let delete = json!({"propagationPolicy": "Background", "preconditions": {"uid": "1"}});
        let delete = ("DELETE".to_owned(), delete);
        let now = Release::Delete(Duration::ZERO);
        for (release, pod, expected) in [
            (Release::Label, free.clone(), vec![label(json!({}))]),
            (Release::Label, guarded.clone(), vec![label(json!({UNGUARD: off}))]),
            (Release::Later, free.clone(), vec![]),
            (Release::Later, guarded.clone(), vec![unguard.clone()]),
            (now, free, vec![delete.clone()]),
            (now, guarded, vec![unguard, delete]),
        ] {
            let words = format!("{release:?} {pod:?}");
            assert_eq!(asked(async |place| place.release(release, pod).await).await, expected, "{words}");
        }
    }

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

    #[test]
    fn a_pod_names_its_own_way_to_end() {
        let annotations =
            BTreeMap::from([(format!("{}side", label::KILL_COMMAND_PREFIX), r#"["stop","-%d"]"#.to_owned())]);
        assert_eq!(kill_command(&annotations, None, "side", 15), ["stop", "-15"]);
        assert_eq!(kill_command(&annotations, Some("argoexec"), "wait", 9), ["argoexec", "kill", "9", "1"]);
    }

    #[test]
    fn a_container_is_ended_by_what_is_in_it() {
        let containers: Vec<SpecContainer> = serde_json::from_value(json!([
            {"name": "wait"}, {"name": "supervisor"},
            {"name": "main", "volumeMounts": [{"name": "var-run-argo", "mountPath": "/var/run/argo"}]},
            {"name": "initless", "volumeMounts": [{"mountPath": "/var/run/argo"}, {"mountPath": "/argo-bin"}]},
            {"name": "istio-proxy", "volumeMounts": [{"mountPath": "/etc/istio/proxy"}]},
        ]))
        .unwrap();
        for (container, command) in [
            ("wait", &["argoexec", "kill", "15", "1"][..]),
            ("supervisor", &["argoexec", "kill", "15", "1"]),
            ("main", &["/var/run/argo/argoexec", "kill", "15", "1"]),
            ("initless", &["/argo-bin/bin/argoexec", "kill", "15", "1"]),
            ("istio-proxy", &["/bin/sh", "-c", "kill -15 1"]),
        ] {
            let executor = executor_in(&containers, container);
            assert_eq!(kill_command(&BTreeMap::new(), executor, container, 15), command);
        }
    }
}
