//! Hadoop's own protocol: no store speaks it, so a template that needs it is refused before any step has done its work.

use tiphys_api::{Artifact, Template};

/// The artifacts and locations of a template that are in HDFS, each as the field within the template and what to do.
pub fn of_template(template: &Template) -> Vec<(String, String)> {
    let repository = template.archive_location.as_deref().and_then(|location| location.hdfs.as_deref());
    let mut found: Vec<_> = repository
        .map(|hdfs| ("archiveLocation.hdfs".to_owned(), hdfs.refusal("archiveLocation")))
        .into_iter()
        .collect();
    let mut add = |field: &str, artifacts: &[Artifact]| {
        found.extend(of_artifacts(artifacts).map(|(index, message)| (format!("{field}[{index}].hdfs"), message)));
    };
    add("inputs.artifacts", &template.inputs.artifacts);
    add("outputs.artifacts", &template.outputs.artifacts);
    for (index, step) in template.steps.iter().flatten().enumerate() {
        for (number, task) in step.iter().enumerate() {
            add(&format!("steps[{index}][{number}].arguments.artifacts"), &task.arguments.artifacts);
        }
    }
    for (index, task) in template.dag.iter().flat_map(|dag| &dag.tasks).enumerate() {
        add(&format!("dag.tasks[{index}].arguments.artifacts"), &task.arguments.artifacts);
    }
    let listed = template.data.as_ref().and_then(|data| data.source.artifact_paths.as_deref());
    if let Some(hdfs) = listed.and_then(|artifact| artifact.hdfs.as_ref()) {
        found.push(("data.source.artifactPaths.hdfs".to_owned(), hdfs.refusal("artifactPaths")));
    }
    let manifest = template.resource.as_ref().and_then(|resource| resource.manifest_from.as_ref()?.artifact.as_deref());
    if let Some(hdfs) = manifest.and_then(|artifact| artifact.hdfs.as_ref()) {
        found.push(("resource.manifestFrom.artifact.hdfs".to_owned(), hdfs.refusal("manifestFrom.artifact")));
    }
    found
}

/// Those of `artifacts` that are in HDFS, by their index, and what to do about each.
pub fn of_artifacts(artifacts: &[Artifact]) -> impl Iterator<Item = (usize, String)> {
    let refused = |artifact: &Artifact| {
        Some(format!("artifact '{}': {}", artifact.name, artifact.hdfs.as_ref()?.refusal("artifacts[]")))
    };
    artifacts.iter().enumerate().filter_map(move |(index, artifact)| Some((index, refused(artifact)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hdfs_is_found_wherever_it_may_be() {
        let artifact = |name: &str| json!({"name": name, "hdfs": {"addresses": ["nn:8020"], "path": "/a/b"}});
        let template = json!({
            "archiveLocation": artifact("")["hdfs"].as_object().map(|hdfs| json!({"hdfs": hdfs})),
            "inputs": {"artifacts": [{"name": "i", "s3": {"key": "k"}}, artifact("in")]},
            "outputs": {"artifacts": [artifact("out")]},
            "steps": [[{"name": "a"}, {"name": "b", "arguments": {"artifacts": [artifact("given")]}}]],
            "dag": {"tasks": [{"name": "t", "arguments": {"artifacts": [artifact("given")]}}]},
            "data": {"source": {"artifactPaths": artifact("")}},
            "resource": {"manifestFrom": {"artifact": artifact("")}}});
        let found = of_template(&serde_json::from_value(template).unwrap());
        let fields: Vec<_> = found.iter().map(|(field, _)| field.as_str()).collect();
        assert_eq!(
            fields,
            [
                "archiveLocation.hdfs",
                "inputs.artifacts[1].hdfs",
                "outputs.artifacts[0].hdfs",
                "steps[0][1].arguments.artifacts[0].hdfs",
                "dag.tasks[0].arguments.artifacts[0].hdfs",
                "data.source.artifactPaths.hdfs",
                "resource.manifestFrom.artifact.hdfs",
            ]
        );
        assert_eq!(
            found[1].1,
            "artifact 'in': artifacts[].hdfs is not supported by Tiphys: use artifacts[].http with the cluster's WebHDFS \
             address, such as http://nn:9870/webhdfs/v1/a/b?op=OPEN for an input and ?op=CREATE&overwrite=true for an output"
        );
    }
}
