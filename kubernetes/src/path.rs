//! Where objects are found.

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `v1` Pod
    Pod,
    /// `v1` ConfigMap
    ConfigMap,
    /// `v1` Secret
    Secret,
    /// `v1` ServiceAccount
    ServiceAccount,
    /// `v1` PersistentVolumeClaim
    PersistentVolumeClaim,
    /// `v1` Namespace; it is in none itself.
    Namespace,
    /// `v1` Node; it has no namespace.
    Node,
    /// `v1` Event
    Event,
    /// `policy/v1` PodDisruptionBudget
    PodDisruptionBudget,
    /// `coordination.k8s.io/v1` Lease
    Lease,
    /// Workflow
    Workflow,
    /// CronWorkflow
    CronWorkflow,
    /// WorkflowTemplate
    WorkflowTemplate,
    /// ClusterWorkflowTemplate; it has no namespace.
    ClusterWorkflowTemplate,
    /// WorkflowTaskResult
    WorkflowTaskResult,
    /// WorkflowTaskSet
    WorkflowTaskSet,
    /// WorkflowArtifactGCTask
    WorkflowArtifactGCTask,
}

const ARGO: &str = "/apis/argoproj.io/v1alpha1";

impl Kind {
    fn group(self) -> (&'static str, &'static str) {
        match self {
            Kind::Pod => ("/api/v1", "pods"),
            Kind::ConfigMap => ("/api/v1", "configmaps"),
            Kind::Secret => ("/api/v1", "secrets"),
            Kind::ServiceAccount => ("/api/v1", "serviceaccounts"),
            Kind::PersistentVolumeClaim => ("/api/v1", "persistentvolumeclaims"),
            Kind::Namespace => ("/api/v1", "namespaces"),
            Kind::Node => ("/api/v1", "nodes"),
            Kind::Event => ("/api/v1", "events"),
            Kind::PodDisruptionBudget => ("/apis/policy/v1", "poddisruptionbudgets"),
            Kind::Lease => ("/apis/coordination.k8s.io/v1", "leases"),
            Kind::Workflow => (ARGO, "workflows"),
            Kind::CronWorkflow => (ARGO, "cronworkflows"),
            Kind::WorkflowTemplate => (ARGO, "workflowtemplates"),
            Kind::ClusterWorkflowTemplate => (ARGO, "clusterworkflowtemplates"),
            Kind::WorkflowTaskResult => (ARGO, "workflowtaskresults"),
            Kind::WorkflowTaskSet => (ARGO, "workflowtasksets"),
            Kind::WorkflowArtifactGCTask => (ARGO, "workflowartifactgctasks"),
        }
    }

    /// The objects of this kind in a namespace; in all namespaces where none is named.
    pub fn within(self, namespace: &str) -> Collection {
        let (group, plural) = self.group();
        Collection(match namespace {
            "" => format!("{group}/{plural}"),
            namespace => format!("{group}/namespaces/{namespace}/{plural}"),
        })
    }
}

/// The path of a collection of objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection(String);

impl Collection {
    /// The collection itself.
    pub fn path(&self) -> &str {
        &self.0
    }

    /// One of its objects. Whatever a user types for a name stays one segment of the path.
    pub fn named(&self, name: &str) -> String {
        let mut path = format!("{}/", self.0);
        segment(name, &mut path);
        path
    }

    /// With a query.
    pub fn query(&self, query: &[(&str, &str)]) -> String {
        queried(&self.0, query)
    }

    /// What the server has below one of its objects, such as a Pod's `log`, with a query.
    pub fn below(&self, name: &str, part: &str, query: &[(&str, &str)]) -> String {
        queried(&format!("{}/{part}", self.named(name)), query)
    }
}

fn queried(path: &str, query: &[(&str, &str)]) -> String {
    let mut path = path.to_owned();
    for (index, (name, value)) in query.iter().enumerate() {
        path.push(if index == 0 { '?' } else { '&' });
        path.push_str(name);
        path.push('=');
        escape(value, &mut path);
    }
    path
}

/// Percent-encodes what has a meaning of its own in a query (RFC 3986, section 3.4).
fn escape(value: &str, out: &mut String) {
    encode(value, b"-._~/", out);
}

/// Percent-encodes what has a meaning of its own in a path (RFC 3986, section 3.3).
fn segment(value: &str, out: &mut String) {
    encode(value, b"-._~", out);
}

fn encode(value: &str, kept: &[u8], out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(Kind::Pod.within("a").named("p"), "/api/v1/namespaces/a/pods/p");
        let log = Kind::Pod.within("a").below("p", "log", &[("container", "main")]);
        assert_eq!(log, "/api/v1/namespaces/a/pods/p/log?container=main");
        assert_eq!(Kind::Secret.within("a").named("../b?c"), "/api/v1/namespaces/a/secrets/..%2Fb%3Fc");
        assert_eq!(Kind::Workflow.within("").path(), "/apis/argoproj.io/v1alpha1/workflows");
        assert_eq!(
            Kind::Pod.within("").query(&[("labelSelector", "a/b!=true,c in (d)"), ("limit", "5")]),
            "/api/v1/pods?labelSelector=a/b%21%3Dtrue%2Cc%20in%20%28d%29&limit=5"
        );
    }
}
