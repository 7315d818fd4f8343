//! Deletion: what is not there is no error, and an object is waited for until it is gone (kubectl: pkg/cmd/delete).

use serde_json::Value;

use super::act::{Target, Work};
use crate::cluster::{ClusterError, Event, ListOptions, Objects};

/// Deletes an object, and waits until it is gone unless the flags say otherwise.
///
/// # Errors
/// The text for the user.
pub(super) async fn delete(work: &Work<'_>, target: &Target) -> Result<(), String> {
    if target.name.is_empty() {
        return Err("error: resource name may not be empty".to_owned());
    }
    let query = work.flags.query(work.action, "");
    let objects = work.objects(target);
    let answer = match objects.delete(&target.name, &work.flags.delete_options(), &query).await {
        Err(error) if error.is_not_found() => return Ok(()),
        answer => answer.map_err(|error| work.told(&error, "deleting"))?,
    };
    if work.flags.get("wait") == Some("false") || !query.is_empty() {
        return Ok(());
    }
    let uid = [&answer["details"]["uid"], &answer["metadata"]["uid"]].into_iter().find_map(Value::as_str);
    let gone = gone(objects, &target.name, uid);
    let gone = match work.flags.timeout()? {
        None => gone.await,
        Some(timeout) => tokio::time::timeout(timeout, gone).await.map_err(|_| {
            format!("error: timed out waiting for the condition on {}/{}", target.resource.shown(), target.name)
        })?,
    };
    gone.map_err(|error| work.told(&error, ""))
}

/// Waits until the object is no longer there, or another one of its name is.
async fn gone(objects: Objects<'_>, name: &str, uid: Option<&str>) -> Result<(), ClusterError> {
    let is_it = |object: &Value| uid.is_none() || object["metadata"]["uid"].as_str() == uid;
    match objects.get(name).await {
        Ok(object) if is_it(&object) => {}
        Ok(_) => return Ok(()),
        Err(error) if error.is_not_found() => return Ok(()),
        // Who may not look has done what was asked of it.
        Err(error) if matches!(error.status(), Some(403 | 405)) => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut watch = objects.watch(ListOptions::named(name));
    loop {
        match watch.next().await {
            Ok(Event::Listed(items)) if !items.iter().any(is_it) => return Ok(()),
            Ok(Event::Deleted(object)) if is_it(&object) => return Ok(()),
            Ok(_) => {}
            Err(error) if matches!(error.status(), Some(403 | 405)) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
