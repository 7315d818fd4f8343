//! Workflows that the corpus does not have, and what must come of them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use super::Outcome;
use super::cluster::Cluster;
use super::databases::{self, Server};
use super::namespace::Namespace;
use super::workflows::{LIMIT, complete, read};

/// What [`archived`] shows.
pub const ARCHIVED: &str = "what is over is archived";

/// What [`estimated`] shows.
pub const ESTIMATED: &str = "durations are estimated by a workflow that is there, and by one that is archived";

/// A workflow that the corpus does not have, and what must hold when it is over.
pub struct Own {
    /// What it shows.
    pub name: &'static str,
    /// What must be there beside it; may be empty.
    beside: &'static str,
    /// How it ends.
    phase: &'static str,
    /// Its manifest; `{s3}` stands for the address of the S3 server.
    manifest: &'static str,
    /// The first difference to what is expected of its status.
    differs: fn(&Value) -> Option<String>,
}

/// An executor plugin that answers those who know its token.
const PLUGIN: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: hello-executor-plugin, labels: {workflows.argoproj.io/configmap-type: ExecutorPlugin}}
data:
  sidecar.container: |
    name: hello-server
    image: python:alpine3.23
    command: [python, -c]
    args:
    - |
      import json
      from http.server import BaseHTTPRequestHandler, HTTPServer
      expected = 'Bearer ' + open('/var/run/argo/token').read()
      class Plugin(BaseHTTPRequestHandler):
          def do_POST(self):
              asked = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
              known = self.headers['Authorization'] == expected
              mine = 'hello' in asked['template'].get('plugin', {})
              self.send_response(200 if known else 403)
              self.end_headers()
              node = {'node': {'phase': 'Succeeded', 'message': 'Hello'}} if mine else {}
              self.wfile.write(json.dumps(node).encode())
      HTTPServer(('', 4355), Plugin).serve_forever()
    ports: [{containerPort: 4355}]
    resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}
    securityContext: {runAsNonRoot: true, runAsUser: 1000, readOnlyRootFilesystem: true}
";

/// Those workflows.
pub const OWN: [Own; 6] = [
    Own {
        name: "http templates, by the agent",
        beside: "",
        phase: "Succeeded",
        manifest: "
kind: Workflow
metadata: {name: http}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: ask, template: ask, withSequence: {count: '3'}}]]
  - name: ask
    http: {url: 'http://{s3}/', successCondition: 'response.statusCode > 0'}
",
        differs: |status| {
            let nodes = status["nodes"].as_object().into_iter().flat_map(|nodes| nodes.values());
            let asked = nodes.filter(|node| node["type"] == "HTTP" && node["phase"] == "Succeeded").count();
            (asked != 3).then(|| format!("{asked} http nodes succeeded, expected 3"))
        },
    },
    Own {
        name: "plugin templates, by a server that a ConfigMap declares",
        beside: PLUGIN,
        phase: "Succeeded",
        manifest: "
kind: Workflow
metadata: {name: plugin}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: ask, template: ask, withSequence: {count: '3'}}]]
  - name: ask
    plugin: {hello: {}}
",
        differs: |status| {
            let nodes = status["nodes"].as_object().into_iter().flat_map(|nodes| nodes.values());
            let told = nodes.filter(|node| node["type"] == "Plugin" && node["message"] == "Hello").count();
            (told != 3).then(|| format!("{told} plugin nodes were told so, expected 3"))
        },
    },
    Own {
        name: "a parameter of 1 MiB, by way of the artifact repository",
        beside: "",
        phase: "Succeeded",
        manifest: "
kind: Workflow
metadata: {name: long-parameter}
spec:
  entrypoint: main
  templates:
  - name: main
    steps:
    - - {name: give, template: give}
    - - name: take
        template: take
        arguments: {parameters: [{name: length, value: '{{=len(steps.give.outputs.parameters.long)}}'}]}
  - name: give
    outputs: {parameters: [{name: long, valueFrom: {path: /tmp/long}}]}
    container: {image: alpine, command: [sh, -c], args: ['head -c 786432 /dev/urandom | base64 -w 0 > /tmp/long']}
  - name: take
    inputs: {parameters: [{name: length}]}
    container: {image: alpine, command: [sh, -c], args: ['test {{inputs.parameters.length}} = 1048576']}
",
        differs: |status| (status["progress"] != "2/2").then(|| format!("progress: {}", status["progress"])),
    },
    Own {
        name: "a volume claim that the API server refuses",
        beside: "",
        phase: "Error",
        manifest: "
kind: Workflow
metadata: {name: refused-claim}
spec:
  entrypoint: main
  volumeClaimTemplates: [{metadata: {name: work}, spec: {resources: {requests: {storage: 1Mi}}}}]
  templates:
  - name: main
    container: {image: alpine, command: ['true'], volumeMounts: [{name: work, mountPath: /work}]}
",
        differs: |status| {
            let refused = status["message"].as_str().is_some_and(|text| text.starts_with("pvc create error: "));
            (!refused || !status["nodes"].is_null())
                .then(|| format!("{}, nodes: {}", status["message"], status["nodes"]))
        },
    },
    Own {
        name: "4,000 nodes, which go out compressed",
        beside: "",
        phase: "Succeeded",
        manifest: "
kind: Workflow
metadata: {name: large}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: pause, template: pause, withSequence: {count: '4000'}}]]
  - name: pause
    suspend: {duration: 1s}
",
        differs: |status| match (status["progress"].as_str(), status["compressedNodes"].is_string()) {
            (Some("4000/4000"), true) if status["nodes"].is_null() => None,
            found => {
                Some(format!("progress and compressed: {found:?}, and nodes beside: {}", !status["nodes"].is_null()))
            }
        },
    },
    Own {
        name: "30,000 nodes, which go into the artifact repository",
        beside: "",
        phase: "Succeeded",
        manifest: "
kind: Workflow
metadata: {name: larger}
spec:
  entrypoint: main
  templates:
  - name: main
    steps: [[{name: pause, template: pause, withSequence: {count: '30000'}}]]
  - name: pause
    suspend: {duration: 1s}
",
        differs: |status| {
            let outside = status["offloadNodeStatusVersion"].as_str().is_some_and(|text| text.starts_with("artifact:"));
            let beside = !status["nodes"].is_null() || !status["compressedNodes"].is_null();
            (!outside || beside || status["progress"] != "30000/30000")
                .then(|| format!("outside: {outside}, nodes beside: {beside}, progress: {}", status["progress"]))
        },
    },
];

fn is_archived(workflow: &Value) -> bool {
    workflow["metadata"]["labels"][tiphys_archive::ARCHIVING_STATUS] == "Archived"
}

/// A workflow that is over is archived.
///
/// # Errors
/// When it is not in the archive then.
pub async fn archived(namespace: &Namespace<'_>, database: &Server) -> Result<()> {
    let manifest = read(
        "
apiVersion: argoproj.io/v1alpha1
kind: Workflow
metadata: {name: kept, labels: {kept: 'yes'}}
spec:
  entrypoint: main
  templates:
  - name: main
    suspend: {duration: 0s}
",
    )?;
    namespace.put(&manifest).await?;
    namespace.until("workflows", "kept", LIMIT, is_archived).await?;
    let server = tiphys_archive::Server {
        host: "127.0.0.1".into(),
        port: Some(database.port),
        database: "postgres".into(),
        credentials: tiphys_archive::Credentials { user: databases::USER.into(), password: databases::PASSWORD.into() },
        encryption: tiphys_archive::Encryption::Off,
    };
    let settings = tiphys_archive::Settings {
        engine: tiphys_archive::Engine::PostgreSql(server),
        pool: tiphys_archive::PoolSize::default(),
        timeout: Duration::from_secs(10),
        reconnection: tiphys_archive::Reconnection::default(),
    };
    let database = tiphys_archive::Database::new(&settings)?;
    let archive = tiphys_archive::Archive::new(database, "default", "", &namespace.name);
    let kept = archive.by_name(&namespace.name, "kept").await?.context("it is not in the archive")?;
    anyhow::ensure!(kept.status.nodes.len() == 1 && kept.metadata.labels["kept"] == "yes", "archived as {kept:?}");
    Ok(())
}

/// A workflow of a template may take as long as the one before it.
///
/// # Errors
/// When something else is told.
pub async fn estimated(namespace: &Namespace<'_>) -> Result<()> {
    let template = read(
        "
apiVersion: argoproj.io/v1alpha1
kind: WorkflowTemplate
metadata: {name: pausing}
spec:
  entrypoint: main
  templates:
  - name: main
    suspend: {duration: 2s}
",
    )?;
    namespace.put(&template).await?;
    let of_template = |name: &str| {
        read(&format!(
            "{{apiVersion: argoproj.io/v1alpha1, kind: Workflow, metadata: {{name: {name}}}, \
             spec: {{workflowTemplateRef: {{name: pausing}}}}}}"
        ))
    };
    namespace.put(&of_template("estimated-1")?).await?;
    let first = namespace.until("workflows", "estimated-1", LIMIT, is_archived).await?;
    anyhow::ensure!(first["status"]["estimatedDuration"].is_null(), "the first is estimated: {}", first["status"]);
    for (name, by) in [("estimated-2", "one that is there"), ("estimated-3", "one that is archived")] {
        let (workflow, _) = complete(namespace, &of_template(name)?).await?;
        let status = &workflow["status"];
        let told = [&status["estimatedDuration"], &status["nodes"][name]["estimatedDuration"]];
        let known = told.into_iter().all(|told| told.as_i64().is_some_and(|seconds| (1..30).contains(&seconds)));
        anyhow::ensure!(known, "by {by}: {told:?}");
        if name == "estimated-2" {
            namespace.remove("workflows", "estimated-1").await?;
        }
    }
    Ok(())
}

/// Runs one of them; tells when it began, and what came of it.
pub async fn run_own(own: &Own, namespace: &Namespace<'_>, cluster: &Cluster) -> (Instant, Outcome) {
    let begun = Instant::now();
    let outcome = async {
        let manifest = own.manifest.replace("{s3}", &cluster.s3.host);
        let mut manifest = read(&manifest)?;
        manifest["apiVersion"] = "argoproj.io/v1alpha1".into();
        if !own.beside.is_empty() {
            namespace.put(&read(own.beside)?).await?;
        }
        let (workflow, _) = complete(namespace, &manifest).await?;
        let status = &workflow["status"];
        let failed = (status["phase"] != own.phase).then(|| format!("{}: {}", status["phase"], status["message"]));
        Ok::<_, anyhow::Error>(failed.or_else(|| (own.differs)(status)))
    };
    match outcome.await {
        Ok(None) => (begun, Outcome::Passed),
        Ok(Some(difference)) => (begun, Outcome::Failed(difference)),
        Err(error) => (begun, Outcome::Failed(format!("{error:#}"))),
    }
}
