//! The operation itself, with kubectl's steps, defaults and messages (argo: workflow/executor/resource.go, ExecResource).

use serde_json::{Value, json};

use super::flags::{Action, Flags};
use super::manifest::Manifest;
use super::{apply, delete, kinds};
use crate::cluster::{Cluster, ClusterError, ListOptions, Objects, Patch, Resource};

/// A conflict with another writer is met by starting over this many times (kubectl: maxPatchRetry).
const CONFLICTS: u32 = 5;

/// An operation with all that decides what it does.
pub struct Work<'a> {
    pub cluster: &'a Cluster,
    pub action: Action,
    pub flags: &'a Flags,
    pub manifest: &'a Manifest,
    /// `strategic`, `merge` or `json`; empty for the first.
    pub merge_strategy: &'a str,
}

/// An object that was acted upon, as the server answered.
#[derive(Debug, Clone)]
pub struct Acted {
    pub resource: Resource,
    pub namespace: String,
    pub name: String,
    pub object: Value,
}

/// One object to act upon: its kind, where it is, and what the manifest says about it.
pub(super) struct Target {
    pub resource: Resource,
    pub namespace: String,
    pub name: String,
    pub manifest: Value,
}

impl<'a> Work<'a> {
    /// Carries out the operation. What is deleted, or looked for in vain with `--ignore-not-found`, is in no list.
    ///
    /// # Errors
    /// The text for the user, as kubectl words it where kubectl does.
    pub async fn run(&self) -> Result<Vec<Acted>, String> {
        if self.manifest.is_empty() && self.flags.words.is_empty() {
            return Err("Must provide at least one of flags or manifest.".to_owned());
        }
        if self.action == Action::Patch && !["", "strategic", "merge", "json"].contains(&self.merge_strategy) {
            let strategy = self.merge_strategy;
            return Err(format!("mergeStrategy {strategy:?} is not supported: there are strategic, merge and json"));
        }
        let mut acted = Vec::new();
        for target in self.targets().await? {
            let object = match self.action {
                Action::Create => Some(self.create(&target, &target.manifest, "kubectl-create").await?),
                Action::Apply if self.flags.is_on("server-side") => Some(self.apply_on_server(&target).await?),
                Action::Apply => Some(self.apply(&target).await?),
                Action::Patch => Some(self.patch(&target).await?),
                Action::Replace => Some(self.replace(&target).await?),
                Action::Get => self.get(&target).await?,
                Action::Delete => {
                    delete::delete(self, &target).await?;
                    None
                }
            };
            if let Some(object) = object {
                let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                if name.is_empty() || object["kind"].as_str().unwrap_or_default().is_empty() {
                    return Err(
                        "Kind and name are both required but at least one of them is missing from the manifest"
                            .to_owned(),
                    );
                }
                acted.push(Acted { resource: target.resource, namespace: target.namespace, name, object });
            }
        }
        Ok(acted)
    }

    async fn targets(&self) -> Result<Vec<Target>, String> {
        let documents = match self.action {
            Action::Patch => self.manifest.documents()?,
            _ => Vec::new(),
        };
        // A patch without a kind of its own is for the objects that the flags name; a JSON patch always is.
        let is_bare_patch = self.action == Action::Patch
            && (self.merge_strategy == "json"
                || (!self.flags.words.is_empty() && documents.iter().all(|document| document.get("kind").is_none())));
        let mut targets = Vec::new();
        if !self.flags.words.is_empty() {
            targets = self.named(documents.into_iter().next().unwrap_or_default()).await?;
        } else if is_bare_patch {
            return Err("a json patch needs the object's kind and name in resource.flags".to_owned());
        }
        if !self.manifest.is_empty() && !is_bare_patch {
            if !self.flags.words.is_empty() {
                return Err("error: there is no need to specify a resource type as a separate argument when passing \
                            arguments in resource/name form or a manifest: leave out one of resource.flags and manifest"
                    .to_owned());
            }
            for object in self.manifest.objects()? {
                targets.push(self.described(object).await?);
            }
        }
        Ok(targets)
    }

    /// The target that a manifest describes.
    async fn described(&self, mut manifest: Value) -> Result<Target, String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text(&manifest["apiVersion"]), text(&manifest["kind"]));
        let name = text(&manifest["metadata"]["name"]);
        let own = text(&manifest["metadata"]["namespace"]);
        let resource = self.cluster.discover(&api_version, &kind).await.map_err(|error| match error {
            ClusterError::Config(reason) => format!(
                "error: resource mapping not found for name: {name:?} namespace: {own:?} from {:?}: {reason}\nensure CRDs \
                 are installed first",
                self.manifest.path
            ),
            error => self.told(&error, ""),
        })?;
        let namespace = match (self.flags.get("namespace"), own.as_str(), resource.namespaced) {
            (_, _, false) => String::new(),
            (Some(asked), "", true) => asked.to_owned(),
            (Some(asked), own, true) if asked != own => {
                return Err(format!(
                    "error: the namespace from the provided object {own:?} does not match the namespace {asked:?}. You \
                     must pass '--namespace={own}' to perform this operation."
                ));
            }
            (_, "", true) => self.cluster.namespace().to_owned(),
            (_, own, true) => own.to_owned(),
        };
        if resource.namespaced {
            manifest["metadata"]["namespace"] = json!(namespace);
        }
        Ok(Target { resource, namespace, name, manifest })
    }

    /// The targets that the words of the flags name: `kind name...`, `kind/name...`, or a kind and a selector.
    async fn named(&self, manifest: Value) -> Result<Vec<Target>, String> {
        let mut pairs = Vec::new();
        match self.flags.words.iter().all(|word| word.contains('/')) {
            true => {
                for word in &self.flags.words {
                    let (kind, name) = word.split_once('/').unwrap_or((word, ""));
                    pairs.push((kind.to_owned(), name.to_owned()));
                }
            }
            false => {
                let (kinds, names) = self.flags.words.split_first().ok_or("resource.flags name no kind")?;
                for kind in kinds.split(',') {
                    match names {
                        [] => pairs.push((kind.to_owned(), String::new())),
                        names => pairs.extend(names.iter().map(|name| (kind.to_owned(), name.clone()))),
                    }
                }
            }
        }
        let mut targets = Vec::new();
        for (kind, name) in pairs {
            let resource = kinds::find(self.cluster, &kind).await.map_err(|error| self.told(&error, ""))?;
            let namespace = match resource.namespaced {
                true => self.flags.get("namespace").unwrap_or(self.cluster.namespace()).to_owned(),
                false => String::new(),
            };
            let names = if name.is_empty() { self.selected(&resource, &namespace).await? } else { vec![name] };
            targets.extend(names.into_iter().map(|name| Target {
                resource: resource.clone(),
                namespace: namespace.clone(),
                name,
                manifest: manifest.clone(),
            }));
        }
        Ok(targets)
    }

    /// Names of the objects that the selectors mean.
    async fn selected(&self, resource: &Resource, namespace: &str) -> Result<Vec<String>, String> {
        let selector = |name| self.flags.get(name).unwrap_or_default().to_owned();
        let options = ListOptions { labels: selector("selector"), fields: selector("field-selector") };
        if options == ListOptions::default() && !self.flags.is_on("all") {
            return Err(format!(
                "error: resource(s) were provided, but no name was specified: resource.flags name {}, but neither an \
                 object nor a selector",
                resource.shown()
            ));
        }
        let objects = self.cluster.objects(resource).in_namespace(namespace);
        let list = objects.list(&options).await.map_err(|error| self.told(&error, ""))?;
        let items = list["items"].as_array().into_iter().flatten();
        let names: Vec<String> =
            items.filter_map(|item| item["metadata"]["name"].as_str()).map(str::to_owned).collect();
        if self.action == Action::Get && names.len() > 1 {
            return Err(format!(
                "the selector of resource.flags matches {} objects of {}; a resource template gets one",
                names.len(),
                resource.shown()
            ));
        }
        Ok(names)
    }

    pub(super) fn objects(&self, target: &Target) -> Objects<'a> {
        self.cluster.objects(&target.resource).in_namespace(&target.namespace)
    }

    /// The target, where the flags want its status, not the whole.
    fn part(&self, target: &Target) -> Objects<'a> {
        match self.flags.get("subresource") {
            Some(_) => self.objects(target).status(),
            None => self.objects(target),
        }
    }

    async fn create(&self, target: &Target, object: &Value, manager: &str) -> Result<Value, String> {
        let annotated;
        let object = match self.flags.is_on("save-config") {
            true => {
                annotated = apply::annotated(object);
                &annotated
            }
            false => object,
        };
        let query = self.flags.query(self.action, manager);
        self.objects(target).create(object, &query).await.map_err(|error| self.told(&error, "creating"))
    }

    async fn apply(&self, target: &Target) -> Result<Value, String> {
        if target.name.is_empty() {
            return Err("error: cannot use generate name with apply".to_owned());
        }
        let manager = "kubectl-client-side-apply";
        let query = self.flags.query(self.action, manager);
        let wanted = apply::annotated(&target.manifest);
        let mut merges_lists = apply::is_built_in(&target.resource.group);
        let mut conflicts = 0;
        loop {
            let current = match self.objects(target).get(&target.name).await {
                Err(error) if error.is_not_found() => {
                    match self.objects(target).create(&wanted, &query).await {
                        // Somebody was faster; then it is a change.
                        Err(error) if error.is_already_exists() && conflicts < CONFLICTS => {
                            conflicts += 1;
                            continue;
                        }
                        created => return created.map_err(|error| self.told(&error, "creating")),
                    }
                }
                current => current.map_err(|error| self.told(&error, "retrieving current configuration of"))?,
            };
            let last = apply::last_applied(&current);
            let Some(patch) = apply::patch(&last, &wanted, &current, merges_lists) else {
                return Ok(current);
            };
            let patch = if merges_lists { Patch::Strategic(patch) } else { Patch::Merge(patch) };
            match self.objects(target).patch(&target.name, &patch, &query).await {
                Err(error) if error.is_conflict() && conflicts < CONFLICTS => conflicts += 1,
                // A custom kind in a group that looks built in.
                Err(error) if error.status() == Some(415) && merges_lists => merges_lists = false,
                patched => return patched.map_err(|error| self.told(&error, "applying patch")),
            }
        }
    }

    async fn apply_on_server(&self, target: &Target) -> Result<Value, String> {
        if target.name.is_empty() {
            return Err("error: cannot use generate name with apply".to_owned());
        }
        let mut query = self.flags.query(self.action, "kubectl");
        let manager = query.remove(0).1.to_owned();
        let force = self.flags.is_on("force-conflicts");
        let patch = Patch::Apply { object: target.manifest.clone(), manager, force };
        self.objects(target).patch(&target.name, &patch, &query).await.map_err(|error| self.told(&error, ""))
    }

    async fn patch(&self, target: &Target) -> Result<Value, String> {
        if target.name.is_empty() {
            return Err("error: resource name may not be empty".to_owned());
        }
        let body = target.manifest.clone();
        let patch = match self.merge_strategy {
            "json" => Patch::Json(body),
            "merge" => Patch::Merge(body),
            _ => Patch::Strategic(body),
        };
        let query = self.flags.query(self.action, "kubectl-patch");
        self.part(target).patch(&target.name, &patch, &query).await.map_err(|error| self.told(&error, ""))
    }

    async fn replace(&self, target: &Target) -> Result<Value, String> {
        if target.name.is_empty() {
            return Err("error: resource name may not be empty".to_owned());
        }
        let mut object = match self.flags.is_on("save-config") {
            true => apply::annotated(&target.manifest),
            false => target.manifest.clone(),
        };
        let query = self.flags.query(self.action, "kubectl-replace");
        let has_version = object["metadata"]["resourceVersion"].is_string();
        for conflicts in 0.. {
            if !has_version {
                let current = self.objects(target).get(&target.name).await;
                let current = current.map_err(|error| self.told(&error, "replacing"))?;
                object["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
            }
            match self.part(target).replace(&target.name, &object, &query).await {
                Err(error) if error.is_conflict() && !has_version && conflicts < CONFLICTS => {}
                replaced => return replaced.map_err(|error| self.told(&error, "replacing")),
            }
        }
        Err("error: the object changed each time it was to be replaced".to_owned())
    }

    async fn get(&self, target: &Target) -> Result<Option<Value>, String> {
        match self.part(target).get(&target.name).await {
            Err(error) if error.is_not_found() && self.flags.is_on("ignore-not-found") => Ok(None),
            found => found.map(Some).map_err(|error| self.told(&error, "")),
        }
    }

    /// A failure in kubectl's words: what was being done is told where the manifest's file is named with it.
    pub(super) fn told(&self, error: &ClusterError, doing: &str) -> String {
        let file = match doing {
            "" => String::new(),
            doing if self.flags.words.is_empty() => format!("error when {doing} {:?}: ", self.manifest.path),
            _ => String::new(),
        };
        match error {
            ClusterError::Refused { reason, message, .. } if reason.is_empty() => {
                format!("Error from server: {file}{message}")
            }
            ClusterError::Refused { reason, message, .. } => format!("Error from server ({reason}): {file}{message}"),
            error => error.to_string(),
        }
    }
}
