//! From a node that needs a Pod to the Pod: `podspec`, with the facts that it asks for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tiphys_api::WorkflowSpec;
use tiphys_podspec::{Error, ImageCommand, Input, PodConfig, Request, build};

use super::model::Pod;
use crate::documents::{Documents, Keys};
use crate::images::Images;
use crate::substitute::substitute;

/// What all Pods of a run are made from.
#[derive(Debug)]
pub(crate) struct PodMaker {
    pub workflow_name: String,
    pub namespace: String,
    pub workflow_uid: String,
    pub documents: Documents,
    /// Shared as it is by Pods that are being made; replaced when the command of an image becomes known.
    pub config: Mutex<Arc<PodConfig>>,
}

/// A Pod, and the documents that it can refer to where they differ from the run's.
#[derive(Debug)]
pub(crate) struct MadePod {
    pub pod: Pod,
    pub documents: Option<Documents>,
}

impl PodMaker {
    /// Makes a node's Pod.
    ///
    /// # Errors
    /// What is wrong with the template, in words for the node's message.
    pub async fn make(
        &self,
        request: &Request,
        variables: &BTreeMap<String, String>,
        spec: &WorkflowSpec,
        images: &Images,
    ) -> Result<MadePod, String> {
        loop {
            let config = self.config.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let made = tokio::task::block_in_place(|| {
                build(&Input {
                    workflow_name: &self.workflow_name,
                    namespace: &self.namespace,
                    workflow_uid: &self.workflow_uid,
                    spec,
                    request,
                    config: &config,
                    substitute: &|text| substitute(text, variables),
                })
            });
            match made {
                Ok(made) => {
                    let documents = made.config_map.as_ref().map(|map| self.with_config_map(map));
                    let pod = Pod::read(made.to_value()).map_err(|error| error.to_string())?;
                    return Ok(MadePod { pod, documents });
                }
                Err(Error::CommandUnknown { image, container }) => {
                    let command = images.command(&image).await?.ok_or_else(|| {
                        format!(
                            "container {container:?} names no command, and this machine does not have its image \
                             {image:?}: name the command in the template, or get the image with `tiphys image import \
                             FILE`, `tiphys image pull` or --registry-mirror"
                        )
                    })?;
                    self.learn(image, command);
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    fn learn(&self, image: String, command: ImageCommand) {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut config).images.insert(image, command);
    }

    /// A Pod whose template is too large for an environment variable brings it in a ConfigMap of its own.
    fn with_config_map(&self, map: &serde_json::Value) -> Documents {
        let name = map.pointer("/metadata/name").and_then(serde_json::Value::as_str).unwrap_or_default();
        let data = map.get("data").and_then(serde_json::Value::as_object);
        let bytes =
            |(key, value): (&String, &serde_json::Value)| Some((key.clone(), value.as_str()?.as_bytes().to_vec()));
        let keys: Keys = data.into_iter().flatten().filter_map(bytes).collect();
        let mut documents = self.documents.clone();
        documents.set_config_map(name, keys);
        documents
    }
}
