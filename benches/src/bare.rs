//! The limit: a client that does nothing but create Pods and watch them end.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use tiphys_kubernetes::{Api, Collection, Event, Kind, watch};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::IN_FLIGHT;
use crate::player::{Played, send_here};

const LABEL: &str = "bench.tiphys.io/bare";

/// Pods a second, all like one.
///
/// # Errors
/// The API server's, or a Pod fails.
pub async fn pods(api: &Api, namespace: &str, count: usize, one: &Value) -> Result<f64> {
    let pods = Kind::Pod.within(namespace);
    let begun = Instant::now();
    let mut ends = Ends::watch(api, &pods);
    let made = stream::iter(0..count).map(|number| {
        let (path, pod) = (pods.path().to_owned(), numbered(one, number));
        async move { api.create(&path, &pod).await.map_err(anyhow::Error::from) }
    });
    let made = made.buffer_unordered(IN_FLIGHT).try_for_each(|_| std::future::ready(Ok(())));
    let seen = async {
        let mut names = HashSet::new();
        while names.len() < count {
            names.insert(ends.next().await?);
        }
        Ok(())
    };
    tokio::try_join!(made, seen)?;
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    clear(api, &pods).await?;
    Ok(rate)
}

/// So many Pods on a real node, each created when the last one is over; seconds until all are.
///
/// # Errors
/// The API server's, or a Pod fails.
pub async fn one_after_the_other(api: &Api, namespace: &str, count: usize, image: &str) -> Result<f64> {
    let pods = Kind::Pod.within(namespace);
    let mut ends = Ends::watch(api, &pods);
    let mut pod = pod();
    pod["spec"]["containers"][0]["image"] = image.into();
    let begun = Instant::now();
    for number in 0..count {
        let pod = numbered(&pod, number);
        api.create(pods.path(), &pod).await?;
        while pod["metadata"]["name"] != ends.next().await? {}
    }
    let seconds = begun.elapsed().as_secs_f64();
    clear(api, &pods).await?;
    Ok(seconds)
}

/// The ends of the bare client's Pods. One may be told more than once.
struct Ends {
    over: mpsc::UnboundedReceiver<Played>,
    /// Ends with this.
    _watch: JoinSet<()>,
}

impl Ends {
    fn watch(api: &Api, pods: &Collection) -> Ends {
        let (to, over) = mpsc::unbounded_channel();
        let (api, pods) = (api.clone(), pods.clone());
        let tell = move |pod: Played| match pod.status.phase.as_str() {
            "Succeeded" | "Failed" => to.send(pod).is_ok(),
            _ => true,
        };
        let mut watching = JoinSet::new();
        watching.spawn(async move {
            watch::<Played>(&api, &pods, LABEL, None, |event| match event {
                Event::Applied(pod) => tell(pod),
                Event::Page(page) => page.into_iter().all(&tell),
                Event::Deleted(_) | Event::Listed => true,
            })
            .await;
        });
        Ends { over, _watch: watching }
    }

    /// The name of a Pod that is over.
    async fn next(&mut self) -> Result<String> {
        let pod = self.over.recv().await.context("Pods are no longer watched")?;
        match pod.status.phase.as_str() {
            "Failed" => bail!("Pod {} failed", pod.metadata.name),
            _ => Ok(pod.metadata.name),
        }
    }
}

async fn clear(api: &Api, pods: &Collection) -> Result<()> {
    api.delete(&pods.query(&[("labelSelector", LABEL)]), &json!({"gracePeriodSeconds": 0})).await?;
    Ok(())
}

/// As lean as a Pod can be, for the node without a machine.
pub fn lean() -> Value {
    let mut pod = pod();
    send_here(&mut pod["spec"]);
    pod
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none", "command": ["true"]}]},
    })
}

/// As the controller has made them.
///
/// # Errors
/// The API server's, or there is none.
pub async fn as_made(api: &Api, namespace: &str) -> Result<Value> {
    let query =
        Kind::Pod.within(namespace).query(&[("labelSelector", "workflows.argoproj.io/workflow"), ("limit", "1")]);
    let list: Value = api.get(&query).await?;
    let made = list.pointer("/items/0").context("no Pod of the controller's is left")?;
    let mut spec = made["spec"].clone();
    if let Some(spec) = spec.as_object_mut() {
        // The scheduler fills it in.
        spec.remove("nodeName");
    }
    let metadata =
        json!({"annotations": made["metadata"]["annotations"], "ownerReferences": made["metadata"]["ownerReferences"]});
    Ok(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}))
}

fn numbered(one: &Value, number: usize) -> Value {
    let mut pod = one.clone();
    pod["metadata"]["name"] = format!("bare-{number}").into();
    pod["metadata"]["labels"] = json!({LABEL: ""});
    pod
}
