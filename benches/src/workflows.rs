//! The workflows, and their ends.

use std::time::Instant;

use anyhow::{Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use serde_json::{Value, json};
use tiphys_kubernetes::{Api, Event, Kind, Metadata, watch, watch_for};
use tokio::sync::mpsc;

use crate::IN_FLIGHT;
use crate::player::{Pace, send_here};

const KIND: &str = "bench.tiphys.io/kind";
const COMPLETED: &str = "workflows.argoproj.io/completed";
const PHASE: &str = "workflows.argoproj.io/phase";

#[derive(Deserialize)]
struct Labelled {
    metadata: Metadata,
}

/// Many workflows of one Pod; seconds until all are over.
///
/// # Errors
/// The API server's, or a workflow does not succeed.
pub async fn one_pod_each(api: &Api, namespace: &str, count: usize) -> Result<f64> {
    let path = Kind::Workflow.within(namespace).path().to_owned();
    let begun = Instant::now();
    let made = stream::iter(0..count).map(|number| {
        let mut workflow = workflow("one", &format!("one-{number}"), json!([step()]), "step");
        send_here(&mut workflow["spec"]);
        let path = path.clone();
        async move { api.create(&path, &workflow).await }
    });
    let made = async {
        let made = made.buffer_unordered(IN_FLIGHT).try_for_each(|_| std::future::ready(Ok(())));
        made.await.map_err(anyhow::Error::from)
    };
    tokio::try_join!(made, over(api, namespace, count, "one"))?;
    Ok(begun.elapsed().as_secs_f64())
}

/// One workflow of so many steps side by side; seconds until it is over, or until all steps run where they are held.
///
/// # Errors
/// The API server's, or the workflow does not succeed.
pub async fn fan_out(api: &Api, namespace: &str, name: &str, count: usize, held: Option<&Pace>) -> Result<f64> {
    let each = json!({"name": "each", "template": "step", "withSequence": {"count": count.to_string()}});
    let templates = json!([step(), {"name": "main", "steps": [[each]]}]);
    let mut workflow = workflow(name, name, templates, "main");
    send_here(&mut workflow["spec"]);
    let begun = Instant::now();
    api.create(Kind::Workflow.within(namespace).path(), &workflow).await?;
    match held {
        Some(pace) => pace.running(count).await,
        None => over(api, namespace, 1, name).await?,
    }
    Ok(begun.elapsed().as_secs_f64())
}

/// One workflow of so many steps one after the other; seconds until it is over. With an image they are on a real node.
///
/// # Errors
/// The API server's, or the workflow does not succeed.
pub async fn chain(api: &Api, namespace: &str, name: &str, count: usize, image: Option<&str>) -> Result<f64> {
    let task = |number: usize| {
        let after: Vec<String> = number.checked_sub(1).map(|before| format!("t{before}")).into_iter().collect();
        json!({"name": format!("t{number}"), "template": "step", "dependencies": after})
    };
    let tasks: Vec<Value> = (0..count).map(task).collect();
    let mut templates = json!([step(), {"name": "main", "dag": {"tasks": tasks}}]);
    if let Some(image) = image {
        templates[0]["container"]["image"] = image.into();
    }
    let mut workflow = workflow(name, name, templates, "main");
    if image.is_none() {
        send_here(&mut workflow["spec"]);
    }
    let begun = Instant::now();
    api.create(Kind::Workflow.within(namespace).path(), &workflow).await?;
    over(api, namespace, 1, name).await?;
    Ok(begun.elapsed().as_secs_f64())
}

/// Waits until so many workflows of a kind are over.
///
/// # Errors
/// One did not succeed.
pub async fn over(api: &Api, namespace: &str, count: usize, kind: &str) -> Result<()> {
    let (to, mut ended) = mpsc::unbounded_channel();
    let selector = format!("{KIND}={kind},{COMPLETED}=true");
    let (watching, workflows) = (api.clone(), Kind::Workflow.within(namespace));
    let metadata = Some(tiphys_kubernetes::METADATA_ALONE);
    let follow = tokio::spawn(async move {
        watch::<Labelled>(&watching, &workflows, &selector, metadata, |event| match event {
            Event::Page(page) => page.into_iter().all(|one| to.send(one.metadata).is_ok()),
            Event::Applied(one) => to.send(one.metadata).is_ok(),
            _ => true,
        })
        .await;
    });
    let mut names = std::collections::HashSet::new();
    while names.len() < count {
        let Some(metadata) = ended.recv().await else { break };
        let phase = metadata.label(PHASE);
        if phase != "Succeeded" {
            bail!("{} is {phase}", metadata.name);
        }
        names.insert(metadata.name);
    }
    follow.abort();
    Ok(())
}

/// Waits until the controller has let go of all Pods: that goes on for a while when workflows are over.
///
/// # Errors
/// They cannot be watched.
pub async fn settled(api: &Api, namespace: &str) -> Result<()> {
    let pods = Kind::Pod.within(namespace);
    let mut left = std::collections::HashSet::new();
    let selector = ("labelSelector", "workflows.argoproj.io/completed=false");
    let mut listed = false;
    watch_for::<Labelled>(api, &pods, selector, |event| {
        match event {
            Event::Page(page) => left.extend(page.into_iter().map(|one| one.metadata.name)),
            Event::Applied(one) => drop(left.insert(one.metadata.name)),
            Event::Deleted(one) => drop(left.remove(&one.metadata.name)),
            Event::Listed => listed = true,
        }
        !(listed && left.is_empty())
    })
    .await?;
    Ok(())
}

fn step() -> Value {
    json!({"name": "step", "container": {"image": "none", "command": ["true"]}})
}

fn workflow(kind: &str, name: &str, templates: Value, entrypoint: &str) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": {"name": name, "labels": {KIND: kind}},
        "spec": {"entrypoint": entrypoint, "templates": templates},
    })
}
