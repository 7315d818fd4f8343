//! `tiphys submit`: workflows of manifests, or made from templates of the cluster, are validated and created.

use serde_json::Value;
use tiphys_api::document::{Document, Object};
use tiphys_api::{ClusterWorkflowTemplate, CronWorkflow, Workflow, WorkflowTemplate};
use tiphys_contract::label;
use tiphys_engine::NodeSelector;
use tiphys_engine::validate::{self, Options};
use tiphys_kubernetes::{ApiError, Backoff, Kind};

use super::templates::Fetched;
use super::workflow::{read, written};
use super::{Cluster, within};
use crate::args::{Afterwards, Global, Manifests, Output, SubmitArgs};
use crate::check::{diagnostics, report};
use crate::display::whole::shown;
use crate::failure::Failure;
use crate::input::{self, Input};
use crate::output;
use crate::submit::{From, apply, reference, referring, scheduled};

/// How often a request is sent that the server is too busy for.
const ATTEMPTS: usize = 5;

/// Submits workflows.
pub fn submit(global: &Global, args: &SubmitArgs) -> Result<(), Failure> {
    let nodes = shown(&args.nodes)?;
    if nodes.is_some() && !args.afterwards.watch {
        return Err(Failure::usage("--status and --node-field-selector are for --watch"));
    }
    let input = match &args.from {
        Some(_) => Input { own: Vec::new(), with: Vec::new() },
        None => input::read(&Manifests { files: args.files.clone(), with: Vec::new() })?,
    };
    within(global, async |cluster| {
        let mut workflows = match &args.from {
            Some(from) => vec![(cluster.made_from(from).await?, None)],
            None => of_manifests(&input)?,
        };
        if args.afterwards.watch && workflows.len() > 1 {
            return Err(Failure::usage(
                "--watch: there is more than one workflow in what was given; --wait waits for all",
            ));
        }
        for (workflow, document) in &mut workflows {
            prepare(workflow, args, global, &cluster)?;
            cluster.check(workflow, *document, &input, args.strict).await?;
        }
        let mut names = Vec::new();
        for (workflow, _) in workflows {
            let made = match (args.dry_run, args.server_dry_run) {
                (true, _) => workflow,
                (false, dry_run) => cluster.create(&workflow, dry_run).await?,
            };
            names.push(made.metadata.name.clone());
            tell(&made, args.output, args.afterwards, "submitted", global.quiet);
        }
        cluster.afterwards(global, &names, args.afterwards, nodes.as_ref()).await
    })
}

/// The workflows of manifests, each with where it was written.
fn of_manifests(input: &Input) -> Result<Vec<(Workflow, Option<&Document>)>, Failure> {
    let found = input.own.iter().filter_map(|document| match &document.object {
        Object::Workflow(workflow) => Some(((**workflow).clone(), Some(document))),
        _ => None,
    });
    let found: Vec<_> = found.collect();
    match found.is_empty() {
        true => Err(Failure::invalid(Some("there is no Workflow in what was given".to_owned()))),
        false => Ok(found),
    }
}

/// Applies the command line to a workflow.
fn prepare(workflow: &mut Workflow, args: &SubmitArgs, global: &Global, cluster: &Cluster) -> Result<(), Failure> {
    apply(workflow, &args.options)?;
    if args.priority.is_some() {
        workflow.spec.priority = args.priority.map(i64::from);
    }
    if let Some(time) = &args.scheduled_time {
        time.parse::<jiff::Timestamp>().map_err(|_| {
            Failure::usage(format!("--scheduled-time {time}: expected RFC 3339, such as 2026-01-02T15:04:05Z"))
        })?;
        let annotations = &mut workflow.metadata.annotations;
        annotations.insert("workflows.argoproj.io/scheduled-time".to_owned(), time.clone());
    }
    cluster.own(&mut workflow.metadata, global)
}

/// Prints a workflow that was made.
pub(super) fn tell(workflow: &Workflow, output: Option<Output>, afterwards: Afterwards, done: &str, quiet: bool) {
    match output {
        Some(format) => output::print(&output::workflow(workflow, format)),
        None if quiet || afterwards.watch => {}
        None => {
            let metadata = &workflow.metadata;
            output::print(&format!("{} {done} in namespace {}\n", metadata.name, metadata.namespace));
        }
    }
}

impl Cluster {
    /// Puts an object into the namespace that is meant, and marks it as one of the controller's that is meant.
    pub(super) fn own(&self, metadata: &mut tiphys_api::ObjectMeta, global: &Global) -> Result<(), Failure> {
        match &global.place.namespace {
            Some(given) if !metadata.namespace.is_empty() && metadata.namespace != *given => {
                return Err(Failure::usage(format!(
                    "the manifest of {} names the namespace {}, and --namespace is {given}",
                    if metadata.name.is_empty() { &metadata.generate_name } else { &metadata.name },
                    metadata.namespace
                )));
            }
            _ if metadata.namespace.is_empty() => metadata.namespace.clone_from(&self.namespace),
            _ => {}
        }
        if !self.instance_id.is_empty() {
            metadata.labels.insert(label::CONTROLLER_INSTANCE_ID.to_owned(), self.instance_id.clone());
        }
        Ok(())
    }

    /// The workflow that an object of the cluster stands for.
    async fn made_from(&self, from: &str) -> Result<Workflow, Failure> {
        let (kind, name) = reference(from)?;
        Ok(match kind {
            From::Template => {
                let path = self.objects(Kind::WorkflowTemplate).named(name);
                referring(name, false, &self.api.get::<WorkflowTemplate>(&path).await?.spec)
            }
            From::ClusterTemplate => {
                let path = self.objects(Kind::ClusterWorkflowTemplate).named(name);
                referring(name, true, &self.api.get::<ClusterWorkflowTemplate>(&path).await?.spec)
            }
            From::Cron => {
                let path = self.objects(Kind::CronWorkflow).named(name);
                scheduled(&self.api.get::<CronWorkflow>(&path).await?)
            }
        })
    }

    /// Refuses what cannot run, with templates of the cluster.
    async fn check(
        &self,
        workflow: &Workflow,
        document: Option<&Document>,
        input: &Input,
        strict: bool,
    ) -> Result<(), Failure> {
        let mut fetched = Fetched::default();
        let problems = loop {
            let problems = validate::workflow(workflow, &fetched, Options::default());
            if !fetched.fetch(self, &workflow.metadata.namespace).await? {
                break problems;
            }
        };
        report(diagnostics(problems, document, input), document, strict)
    }

    /// Creates a workflow; gives what the server made of it.
    pub(super) async fn create(&self, workflow: &Workflow, dry_run: bool) -> Result<Workflow, Failure> {
        let namespace = workflow.metadata.namespace.as_str();
        let collection = Kind::Workflow.within(if namespace.is_empty() { &self.namespace } else { namespace });
        let path = if dry_run { collection.query(&[("dryRun", "All")]) } else { collection.path().to_owned() };
        let object = written(workflow)?;
        read(self.send(&path, &object).await?, &workflow.status.nodes)
    }

    /// Makes an object. What the server is too busy for is sent again when it says; what was not answered is not, as it may
    /// have been done.
    pub(super) async fn send(&self, path: &str, object: &Value) -> Result<Value, ApiError> {
        let mut backoff = Backoff::default();
        let mut attempts = 1;
        loop {
            match self.api.create(path, object).await {
                Err(error) if error.is_transient() && error.code() != 0 && attempts < ATTEMPTS => {
                    attempts += 1;
                    error.wait(&mut backoff).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// Waits for workflows, shows them, or these of their nodes, or prints what they write.
    pub(super) async fn afterwards(
        &self,
        global: &Global,
        names: &[String],
        afterwards: Afterwards,
        nodes: Option<&NodeSelector>,
    ) -> Result<(), Failure> {
        let Afterwards { wait, watch, log } = afterwards;
        if log {
            for name in names {
                self.print_logs_to_the_end(global, name).await?;
            }
        }
        match (wait, watch) {
            (true, _) => self.wait(global, names, false).await,
            (false, true) => {
                for name in names {
                    self.show(global, name, nodes).await?;
                }
                Ok(())
            }
            (false, false) => Ok(()),
        }
    }
}
