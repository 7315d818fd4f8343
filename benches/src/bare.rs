//! The limit: a client that does nothing but create Pods and watch them end.

use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use tiphys_kubernetes::{Api, Event, Kind, watch};
use tokio::sync::mpsc;

use crate::IN_FLIGHT;
use crate::player::{Played, TOLERATION, node_selector};

const LABEL: &str = "bench.tiphys.io/bare";

/// Pods a second, all like one.
///
/// # Errors
/// The API server's.
pub async fn pods(api: &Api, namespace: &str, count: usize, one: &Value) -> Result<f64> {
    let pods = Kind::Pod.within(namespace);
    let (to, mut ended) = mpsc::unbounded_channel();
    let (watching, watched) = (api.clone(), pods.clone());
    let begun = Instant::now();
    let follow = tokio::spawn(async move {
        watch::<Played>(&watching, &watched, LABEL, None, |event| match event {
            Event::Applied(pod) if pod.status.phase == "Succeeded" => to.send(pod.metadata.name).is_ok(),
            Event::Page(page) => page
                .into_iter()
                .filter(|pod| pod.status.phase == "Succeeded")
                .all(|pod| to.send(pod.metadata.name).is_ok()),
            _ => true,
        })
        .await;
    });
    let made = stream::iter(0..count).map(|number| {
        let (path, pod) = (pods.path().to_owned(), numbered(one, number));
        async move { api.create(&path, &pod).await }
    });
    let made = made.buffer_unordered(IN_FLIGHT).try_for_each(|_| std::future::ready(Ok(())));
    let seen = async {
        let mut names = std::collections::HashSet::new();
        while names.len() < count {
            match ended.recv().await {
                Some(name) => names.insert(name),
                None => break,
            };
        }
        Ok(())
    };
    tokio::try_join!(made, seen)?;
    let rate = count as f64 / begun.elapsed().as_secs_f64();
    follow.abort();
    let query = pods.query(&[("labelSelector", LABEL)]);
    api.delete(&query, &json!({"gracePeriodSeconds": 0})).await?;
    Ok(rate)
}

/// So many Pods on a real node, each created when the last one is over; seconds until all are.
///
/// # Errors
/// The API server's, or a Pod fails.
pub async fn one_after_the_other(api: &Api, namespace: &str, count: usize, image: &str) -> Result<f64> {
    let pods = Kind::Pod.within(namespace);
    let (to, mut seen) = mpsc::unbounded_channel();
    let (watching, watched) = (api.clone(), pods.clone());
    let follow = tokio::spawn(async move {
        watch::<Played>(&watching, &watched, LABEL, None, |event| match event {
            Event::Applied(pod) => to.send(pod).is_ok(),
            _ => true,
        })
        .await;
    });
    let mut pod = lean();
    pod["spec"]["containers"][0]["image"] = image.into();
    if let Some(spec) = pod["spec"].as_object_mut() {
        spec.retain(|field, _| field != "nodeSelector" && field != "tolerations");
    }
    let begun = Instant::now();
    for number in 0..count {
        let pod = numbered(&pod, number);
        api.create(pods.path(), &pod).await?;
        loop {
            let seen = seen.recv().await.context("Pods are no longer watched")?;
            match seen.status.phase.as_str() {
                "Succeeded" if pod["metadata"]["name"] == seen.metadata.name => break,
                "Failed" => bail!("Pod {} failed", seen.metadata.name),
                _ => {}
            }
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    follow.abort();
    let query = pods.query(&[("labelSelector", LABEL)]);
    api.delete(&query, &json!({"gracePeriodSeconds": 0})).await?;
    Ok(seconds)
}

/// As lean as a Pod can be.
pub fn lean() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {},
        "spec": {
            "nodeSelector": node_selector(), "tolerations": [{"key": TOLERATION, "operator": "Exists"}],
            "restartPolicy": "Never", "containers": [{"name": "main", "image": "none", "command": ["true"]}],
        },
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
