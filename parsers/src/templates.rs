//! Templates, as the executor reads them: whole, and the little that the emissary needs.

use tiphys_api::Template;

/// Both readers; what is read whole survives being written.
pub fn template(bytes: &[u8]) {
    if let Ok(template) = crate::template::Template::parse(bytes) {
        let mains = template.mains();
        for container in mains {
            template.dependencies(container);
            template.is_sidecar(container);
        }
        template.parameter_paths().for_each(drop);
        for (_, artifact) in template.artifacts() {
            artifact.is_tar();
        }
        template.mounts().for_each(drop);
        if let Some(retry) = template.retry() {
            drop((retry.starts(), retry.pause()));
        }
    }
    if let Ok(template) = serde_json::from_slice::<Template>(bytes) {
        let text = serde_json::to_string(&template).unwrap();
        let again: Template = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&again).unwrap(), text);
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    [
        r#"{"name":"a","inputs":{"parameters":[{"name":"p","value":"1"}],"artifacts":[{"name":"in","path":"/in",
            "s3":{"bucket":"b","key":"k"},"mode":420}]},"outputs":{"parameters":[{"name":"o","valueFrom":
            {"path":"/tmp/o","default":"d"}}],"artifacts":[{"name":"out","path":"/out","archive":{"none":{}}}]},
            "container":{"image":"i","command":["sh","-c"],"args":["x"],"volumeMounts":[{"name":"v","mountPath":"/v"}]},
            "archiveLocation":{"archiveLogs":true,"s3":{"key":"a/b"}}}"#,
        r#"{"containerSet":{"retryStrategy":{"retries":3,"duration":"5s"},"containers":[{"name":"x","dependencies":["y"]},
            {"name":"y"}]},"sidecars":[{"name":"s"}],"script":{"source":"echo","command":["sh"]},"unknown":[1,2.5e3,null]}"#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
