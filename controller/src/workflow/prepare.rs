//! What a workflow needs before its first Pod, and what goes when it is over: its artifact repository, its volume claims, its
//! disruption budget. argo: operator.go, createPVCs, deletePVCs, createPDBResource.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tiphys_api::{ArtifactRepositoryRefStatus, Workflow, WorkflowSpec};
use tiphys_contract::label;
use tiphys_engine::{Fact, claim_name, claim_template_name, claim_volume, claim_volumes, keeps_claims, origin};
use tiphys_podspec::{Layout, PodConfig, owner_reference};
use tokio::sync::OnceCell;

use super::message::Message;
use super::pods::Workplace;
use crate::baselines;
use tiphys_kubernetes::{ApiError, Backoff, Kind, ObjectMeta};

/// Keeps a claim while Pods that are over still name it.
const PROTECTION: &str = "kubernetes.io/pvc-protection";

/// What all Pods of a workflow are made of.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The configuration, with the workflow's own artifact repository.
    pub config: Arc<PodConfig>,
    /// Volumes over the workflow's claims.
    pub claims: Vec<Value>,
    /// Whether the workflow waits for its artifacts to be collected before it goes.
    pub guarded: OnceCell<()>,
}

/// What is known already of what all Pods are made of.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The artifact repository.
    pub repository: Option<Box<ArtifactRepositoryRefStatus>>,
    /// Whether the workflow's claims are there.
    pub claims: bool,
}

impl Workplace {
    /// Prepares the workflow; what is there already stays.
    ///
    /// # Errors
    /// Why there can be no Pods, in words for a node's message.
    pub async fn prepare(&self, spec: &WorkflowSpec, known: Known) -> Result<Prepared, String> {
        let config = self.pod_config(spec, known.repository).await?;
        if let Some(budget) = &spec.pod_disruption_budget {
            self.budget(budget).await.map_err(|error| {
                format!("unable to create PDB resource for workflow, {} error: {error}", self.workflow)
            })?;
        }
        let claims = match known.claims {
            true => claim_volumes(&self.workflow, spec),
            // It was asked to end before they were there: only its exit handler needs them.
            false => self.claims(spec).await.inspect(|claims| {
                self.tell(Message::Fact(Fact::VolumeClaims(claims.clone())));
            }),
        };
        let claims = claims.map_err(|error| format!("pvc create error: {error}"))?;
        Ok(Prepared { config, claims, guarded: OnceCell::new() })
    }

    /// Makes the workflow's volume claims; those that are there already stay. Gives the volumes over them. What is made before one
    /// is refused is told.
    ///
    /// # Errors
    /// Why one cannot be made.
    pub async fn claims(&self, spec: &WorkflowSpec) -> Result<Vec<Value>, String> {
        let mut claims = Vec::new();
        let made = async {
            for (index, template) in spec.volume_claim_templates.iter().enumerate() {
                let name = claim_template_name(index, template)?;
                claims.push(self.claim(name, template).await?);
            }
            Ok(())
        };
        match made.await {
            Ok(()) => Ok(claims),
            Err(error) => {
                if !claims.is_empty() {
                    self.tell(Message::Fact(Fact::VolumeClaims(claims)));
                }
                Err(error)
            }
        }
    }

    /// The same where somebody else makes what there has to be: what Pods are made of, without making anything.
    ///
    /// # Errors
    /// As [`Workplace::prepare`].
    pub async fn foresee(
        &self,
        spec: &WorkflowSpec,
        repository: Option<Box<ArtifactRepositoryRefStatus>>,
    ) -> Result<Prepared, String> {
        let config = self.pod_config(spec, repository).await?;
        let claims = claim_volumes(&self.workflow, spec)?;
        Ok(Prepared { config, claims, guarded: OnceCell::new() })
    }

    /// The configuration, with the workflow's own artifact repository.
    async fn pod_config(
        &self,
        spec: &WorkflowSpec,
        repository: Option<Box<ArtifactRepositoryRefStatus>>,
    ) -> Result<Arc<PodConfig>, String> {
        let mut config = self.cluster.config().pod.clone();
        if self.cluster.mounts_images.load(Ordering::Relaxed) {
            config.layout = Layout::ImageVolume;
        }
        let found = match repository.filter(|known| known.artifact_repository.is_some()) {
            Some(known) => known,
            None => {
                let found = Box::new(self.repository(spec.artifact_repository_ref.as_deref()).await?);
                self.tell(Message::Fact(Fact::ArtifactRepository(found.clone())));
                found
            }
        };
        if let Some(repository) = &found.artifact_repository {
            config.artifact_repository = (**repository).clone();
        }
        Ok(Arc::new(config))
    }

    /// Looks for what the workflow's durations are estimated by. It begins without: estimates come to what is there already.
    pub fn look_for_baseline(self, workflow: &Workflow) {
        let Some((label, value)) = origin(workflow) else { return };
        let value = value.to_owned();
        tokio::spawn(async move {
            match baselines::find(&self.cluster, &self.namespace, (label, &value)).await {
                Ok(Some(baseline)) => self.tell(Message::Fact(Fact::Baseline(Box::new(baseline)))),
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(namespace = %self.namespace, workflow = %self.workflow, %error, "durations are not estimated");
                }
            }
        });
    }

    /// Owner references of what belongs to the workflow.
    pub fn owner(&self) -> Value {
        json!([owner_reference(&self.workflow, &self.uid)])
    }

    async fn budget(&self, spec: &Value) -> Result<(), ApiError> {
        let labels = json!({label::WORKFLOW: &*self.workflow});
        let mut spec = spec.clone();
        if spec["selector"].is_null() {
            spec["selector"] = json!({"matchLabels": labels});
        }
        let budget = json!({
            "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
            "metadata": {"name": &*self.workflow, "labels": labels, "ownerReferences": self.owner()},
            "spec": spec,
        });
        self.cluster.make(Kind::PodDisruptionBudget.within(&self.namespace).path(), &budget).await.map(|_| ())
    }

    /// Makes one claim; gives the volume over it.
    async fn claim(&self, name: &str, template: &Value) -> Result<Value, String> {
        let claim_name = claim_name(&self.workflow, name);
        let mut claim = template.clone();
        claim["apiVersion"] = "v1".into();
        claim["kind"] = "PersistentVolumeClaim".into();
        claim["metadata"]["name"] = claim_name.as_str().into();
        claim["metadata"]["labels"][label::WORKFLOW] = (*self.workflow).into();
        claim["metadata"]["ownerReferences"] = self.owner();
        if let Some(claim) = claim.as_object_mut() {
            claim.remove("status");
        }
        if !self.make_claim(&claim).await.map_err(|error| error.to_string())? {
            let path = Kind::PersistentVolumeClaim.within(&self.namespace).named(&claim_name);
            let there: ObjectMeta = self.cluster.read(&path).await.map_err(|error| error.to_string())?;
            if !there.metadata.is_of(&self.uid) {
                return Err(format!("{claim_name} pvc already exists with different ownerreference"));
            }
        }
        Ok(claim_volume(&self.workflow, name))
    }

    /// Makes a claim, again for as long as that can help, and tells what it waits for. Tells whether it was made now, and not
    /// there already.
    async fn make_claim(&self, claim: &Value) -> Result<bool, ApiError> {
        let claims = Kind::PersistentVolumeClaim.within(&self.namespace);
        let mut backoff = Backoff::default();
        let mut told = String::new();
        loop {
            let error = match self.cluster.other.send(self.cluster.api.create(claims.path(), claim)).await {
                Err(error) if error.is_already_there() => return Ok(false),
                Err(error) if error.is_transient() => error,
                answer => return answer.map(|_| true),
            };
            let reason = error.to_string();
            if reason != told {
                self.tell(Message::Fact(Fact::VolumeClaimRefused { message: reason.clone(), transient: true }));
                told = reason;
            }
            error.wait(&mut backoff).await;
            if self.to.is_closed() {
                return Err(error);
            }
        }
    }

    /// Takes away what was made for a workflow that is over. What is left is collected with the workflow itself.
    pub async fn clear(self, workflow: Workflow, spec: Arc<WorkflowSpec>) {
        if spec.pod_disruption_budget.is_some() {
            let path = Kind::PodDisruptionBudget.within(&self.namespace).named(&self.workflow);
            if let Err(error) = self.cluster.remove(&path, &json!({})).await {
                tracing::warn!(workflow = %self.workflow, %error, "the PodDisruptionBudget cannot be deleted");
            }
        }
        let kept = keeps_claims(&spec, workflow.status.phase);
        let mut left = Vec::new();
        for volume in &workflow.status.persistent_volume_claims {
            let name = volume["persistentVolumeClaim"]["claimName"].as_str().unwrap_or_default();
            let gone = !kept && self.remove_claim(name).await;
            if !gone {
                left.push(volume.clone());
            }
        }
        self.tell(Message::Cleared(left));
    }

    async fn remove_claim(&self, name: &str) -> bool {
        let path = Kind::PersistentVolumeClaim.within(&self.namespace).named(name);
        let removed = async {
            self.cluster.remove(&path, &json!({})).await?;
            if self.cluster.config().protects_claims {
                return Ok(());
            }
            // The finalizer waits for Pods that name the claim, also for those that are over. argo: deletePVCs.
            let there: Value = match self.cluster.read(&path).await {
                Err(error) if error.is_not_found() => return Ok(()),
                there => there?,
            };
            let finalizers = there["metadata"]["finalizers"].as_array().into_iter().flatten();
            let left: Vec<&Value> = finalizers.filter(|one| one.as_str() != Some(PROTECTION)).collect();
            match self.cluster.change(&path, &json!({"metadata": {"finalizers": left}})).await {
                Err(error) if error.is_not_found() => Ok(()),
                changed => changed,
            }
        };
        let removed: Result<(), ApiError> = removed.await;
        if let Err(error) = &removed {
            tracing::error!(workflow = %self.workflow, claim = name, %error, "the volume claim cannot be deleted");
        }
        removed.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::super::api_server::{ApiServer, place};
    use super::*;
    use crate::config::Config;

    #[tokio::test(start_paused = true)]
    async fn a_claim_that_cannot_be_made_yet_is_told_and_made_later() {
        let quota = "persistentvolumeclaims \"wf-work\" is forbidden: exceeded quota: storage";
        let server = ApiServer::default().refusing(StatusCode::FORBIDDEN, quota).refusing(StatusCode::FORBIDDEN, quota);
        let (place, mut inbox) = place(server.cluster(Config::default()));
        let volume = place.claim("work", &json!({"metadata": {"name": "work"}, "spec": {}})).await.unwrap();
        assert_eq!(volume["persistentVolumeClaim"]["claimName"], "wf-work");
        assert_eq!(server.changes().len(), 3);
        let Some(Message::Fact(Fact::VolumeClaimRefused { message, transient: true })) = inbox.recv().await else {
            panic!("nothing is told")
        };
        assert!(message.contains("exceeded quota: storage"), "{message}");
        assert!(inbox.try_recv().is_err(), "it is told once");
    }
}
