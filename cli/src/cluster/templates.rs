//! Workflow templates of a namespace and of the cluster: what workflows refer to, and `tiphys template`.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use tiphys_api::WorkflowSpec;
use tiphys_engine::validate::Templates;
use tiphys_kubernetes::Kind;

use super::objects;
use super::{Cluster, within};
use crate::args::{Global, LintKind, TemplateCommand};
use crate::failure::Failure;
use crate::lint;

/// Templates as validation asks for them: what was asked for and is not known yet is fetched before it is asked again.
#[derive(Default)]
pub struct Fetched {
    known: BTreeMap<(bool, String), Option<WorkflowSpec>>,
    asked: RefCell<BTreeSet<(bool, String)>>,
}

impl Templates for Fetched {
    fn get(&self, cluster_scope: bool, name: &str) -> Option<&WorkflowSpec> {
        let key = (cluster_scope, name.to_owned());
        let known = self.known.get(&key);
        if known.is_none() {
            self.asked.borrow_mut().insert(key);
        }
        known?.as_ref()
    }
}

impl Fetched {
    /// Gets what was asked for; tells whether there was anything. A template that is not there is known not to be.
    pub async fn fetch(&mut self, cluster: &Cluster, namespace: &str) -> Result<bool, Failure> {
        #[derive(Deserialize)]
        struct Template {
            #[serde(default)]
            spec: WorkflowSpec,
        }
        let asked = std::mem::take(&mut *self.asked.borrow_mut());
        let any = !asked.is_empty();
        for (cluster_scope, name) in asked {
            let collection = match cluster_scope {
                true => Kind::ClusterWorkflowTemplate.within(""),
                false => {
                    Kind::WorkflowTemplate.within(if namespace.is_empty() { &cluster.namespace } else { namespace })
                }
            };
            let found = match name.is_empty() {
                // The collection would be read.
                true => None,
                false => match cluster.api.get::<Template>(&collection.named(&name)).await {
                    Ok(template) => Some(template.spec),
                    Err(error) if error.is_not_found() => None,
                    Err(error) => return Err(error.into()),
                },
            };
            self.known.insert((cluster_scope, name), found);
        }
        Ok(any)
    }
}

/// `tiphys template`
pub fn template(global: &Global, command: TemplateCommand) -> Result<(), Failure> {
    manage(global, command, Kind::WorkflowTemplate, LintKind::Workflowtemplates)
}

/// `tiphys cluster-template`
pub fn cluster_template(global: &Global, command: TemplateCommand) -> Result<(), Failure> {
    manage(global, command, Kind::ClusterWorkflowTemplate, LintKind::Clusterworkflowtemplates)
}

fn manage(global: &Global, command: TemplateCommand, kind: Kind, linted: LintKind) -> Result<(), Failure> {
    match command {
        TemplateCommand::Lint(args) => lint::lint_kind(global, &args, linted),
        TemplateCommand::List(args) => within(global, async |cluster| objects::list(&cluster, kind, &args).await),
        TemplateCommand::Get(args) => within(global, async |cluster| objects::get(&cluster, kind, &args).await),
        TemplateCommand::Delete(args) => within(global, async |cluster| objects::delete(&cluster, kind, &args).await),
        TemplateCommand::Create(args) => {
            let input = objects::read(&args)?;
            within(global, async |cluster| {
                objects::write(&cluster, global, kind, &args, &input, false, |_| Ok(())).await
            })
        }
        TemplateCommand::Update(args) => {
            let input = objects::read(&args)?;
            within(global, async |cluster| {
                objects::write(&cluster, global, kind, &args, &input, true, |_| Ok(())).await
            })
        }
    }
}
