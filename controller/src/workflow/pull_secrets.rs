//! With which Secrets a workflow's images are pulled: those that it names, and those of its service account.
//! argo: workflow/controller/entrypoint/container_registry_index.go; github.com/google/go-containerregistry, k8schain.

use serde::Deserialize;
use tiphys_api::WorkflowSpec;
use tiphys_kubernetes::{Kind, SecretObject};
use tiphys_oci::PullSecrets;

use super::pods::Workplace;
use crate::images::Asker;

/// What such a Secret has, by its type.
const KEYS: [&str; 2] = [".dockerconfigjson", ".dockercfg"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AccountObject {
    #[serde(default)]
    image_pull_secrets: Vec<Named>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Named {
    name: String,
}

impl Workplace {
    /// Who asks for images of a workflow's Pods.
    pub(super) fn asker(&self, spec: &WorkflowSpec) -> Asker {
        let account = match spec.service_account_name.as_str() {
            "" => "default",
            account => account,
        };
        let names = spec.image_pull_secrets.iter().filter_map(|one| one["name"].as_str());
        Asker {
            namespace: self.namespace.to_string(),
            account: account.to_owned(),
            secrets: names.map(str::to_owned).collect(),
        }
    }

    /// The logins that somebody may use, and what cannot be had of them, in words. An image may need none of that.
    pub(super) async fn pull_secrets(&self, asker: &Asker) -> (PullSecrets, Vec<String>) {
        let mut missing = Vec::new();
        let mut names = asker.secrets.clone();
        let account = Kind::ServiceAccount.within(&asker.namespace).named(&asker.account);
        match self.cluster.read::<AccountObject>(&account).await {
            Ok(account) => names.extend(account.image_pull_secrets.into_iter().map(|one| one.name)),
            Err(error) => missing.push(format!("the service account {} cannot be read: {error}", asker.account)),
        }
        let mut secrets = PullSecrets::default();
        for name in names.iter().filter(|name| !name.is_empty()) {
            let path = Kind::Secret.within(&asker.namespace).named(name);
            let object = match self.cluster.read::<SecretObject>(&path).await {
                Ok(object) => object,
                Err(error) => {
                    missing.push(format!("the Secret {name} cannot be read: {error}"));
                    continue;
                }
            };
            for key in KEYS {
                let Some(bytes) = object.bytes(key) else { continue };
                match secrets.clone().with(name, key, &bytes) {
                    Ok(more) => secrets = more,
                    Err(error) => missing.push(error.to_string()),
                }
            }
        }
        (secrets, missing)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use serde_json::{Value, json};
    use tiphys_oci::Reference;

    use super::super::api_server::{ApiServer, place};
    use super::*;
    use crate::config::Config;

    fn secret(key: &str, content: &Value) -> Value {
        json!({"data": {key: BASE64_STANDARD.encode(content.to_string())}})
    }

    #[tokio::test]
    async fn the_workflows_own_and_those_of_its_service_account() {
        let login = json!({"username": "me", "password": "hunter2"});
        let server = ApiServer::default()
            .with("/api/v1/namespaces/team/serviceaccounts/robot", json!({"imagePullSecrets": [{"name": "its"}]}))
            .with(
                "/api/v1/namespaces/team/secrets/own",
                secret(".dockerconfigjson", &json!({"auths": {"a.io": login}})),
            )
            .with("/api/v1/namespaces/team/secrets/its", secret(".dockercfg", &json!({"b.io": login})))
            .with("/api/v1/namespaces/team/secrets/broken", secret(".dockercfg", &json!("hunter2")));
        let (place, _inbox) = place(server.cluster(Config::default()));
        let named = |names: &[&str]| names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>();
        let spec = |account: &str, names: &[&str]| WorkflowSpec {
            service_account_name: account.into(),
            image_pull_secrets: named(names),
            ..WorkflowSpec::default()
        };
        let know = |secrets: &PullSecrets, image: &str| secrets.know(&image.parse::<Reference>().unwrap());

        let (secrets, missing) = place.pull_secrets(&place.asker(&spec("robot", &["own"]))).await;
        assert!(missing.is_empty(), "{missing:?}");
        assert!(know(&secrets, "a.io/x/y") && know(&secrets, "b.io/x/y") && !know(&secrets, "c.io/x/y"));

        // What cannot be had is told, and keeps nobody from the rest.
        let (secrets, missing) = place.pull_secrets(&place.asker(&spec("", &["broken", "gone", "own"]))).await;
        assert!(know(&secrets, "a.io/x/y") && !know(&secrets, "b.io/x/y"));
        let missing = missing.join("\n");
        for words in
            ["the service account default cannot be read", "the Secret gone cannot be read", "the Secret broken"]
        {
            assert!(missing.contains(words), "{missing}");
        }
        assert!(!missing.contains("hunter2"), "{missing}");
    }
}
