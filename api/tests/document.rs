//! Manifests, and what is said of mistakes in them.

use tiphys_api::diagnostic::Severity;
use tiphys_api::document::{self, Document, Object};

fn mistakes(text: &str) -> String {
    let Err(mistakes) = document::parse("wf.yaml", text) else { panic!("a mistake was expected") };
    mistakes.iter().map(|mistake| mistake.to_string()).collect::<Vec<_>>().join("\n")
}

fn only(text: &str) -> Document {
    match document::parse("wf.yaml", text) {
        Ok(mut documents) => documents.remove(0),
        Err(mistakes) => panic!("{}", mistakes[0]),
    }
}

fn warnings(text: &str) -> String {
    only(text).warnings().iter().map(|warning| warning.to_string()).collect::<Vec<_>>().join("\n")
}

#[test]
fn all_documents_of_a_file() {
    let text = "# first\nkind: Workflow\nmetadata: {name: a}\n---\n---\nkind: ConfigMap\nmetadata: {name: b}\ndata: {k: v}\n--- # more\nkind: Pod\nmetadata:\n  name: c\n";
    let documents = document::parse("all.yaml", text).unwrap();
    let names: Vec<_> = documents.iter().map(|d| format!("{} {}", d.object.kind(), d.name())).collect();
    assert_eq!(names, ["Workflow a", "ConfigMap b", "Pod c"]);
    assert_eq!(documents[2].position("metadata.name").unwrap().to_string(), "12:3");
    assert!(matches!(&documents[1].object, Object::ConfigMap(map) if map.data["k"] == "v"));
}

#[test]
fn a_list_gives_its_items() {
    let text = "kind: List\nitems:\n- kind: Workflow\n  metadata: {name: a}\n- kind: WorkflowTemplate\n  metadata: {name: b}\n";
    let documents = document::parse("list.yaml", text).unwrap();
    assert_eq!(documents[1].name(), "b");
    assert_eq!(documents[1].position("metadata.name").unwrap().to_string(), "6:14");
}

#[test]
fn json_has_positions_too() {
    let text =
        "{\n  \"kind\": \"Workflow\",\n  \"metadata\": {\"name\": \"a\\/b\"},\n  \"spec\": {\"entrypoint\": 5}\n}";
    assert_eq!(
        mistakes(text),
        "wf.yaml:4:26: error: `spec.entrypoint`: expected a string, found integer `5`\n  |\n\
         4 |   \"spec\": {\"entrypoint\": 5}\n  |                          ^\n  = help: put the value in quotes"
    );
    assert_eq!(only("{\"kind\": \"Pod\", \"x\": \"\\ud83d\\ude00\"}").object.kind(), "Pod");
}

#[test]
fn wrong_types_are_all_reported_at_their_place() {
    let text = "apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec:\n  entrypoint: yes\n  templates:\n  - name: a\n    container: sh\n  - name: b\n    steps:\n    - name: c\n";
    assert_eq!(
        mistakes(text),
        "wf.yaml:4:15: error: `spec.entrypoint`: expected a string, found boolean `true`\n  |\n\
         4 |   entrypoint: yes\n  |               ^\n  \
         = help: put the value in quotes: YAML takes yes, no, on, off, y and n for booleans\n\
         wf.yaml:7:16: error: `spec.templates[0].container`: expected an object, found string \"sh\"\n  |\n\
         7 |     container: sh\n  |                ^\n\
         wf.yaml:10:7: error: `spec.templates[1].steps[0]`: expected a sequence, found map\n   |\n\
         10 |     - name: c\n   |       ^"
    );
}

#[test]
fn a_broken_document_does_not_hide_the_next() {
    let text =
        "kind: Workflow\nspec: {\n---\nkind: Workflow\nspec:\n  entrypoint: {{x}}\n---\nkind: Workflow\nspec: 5\n";
    let found = mistakes(text);
    assert_eq!(found.matches("error: ").count(), 3, "{found}");
    assert!(found.contains("wf.yaml:6:16: error: a list or mapping cannot be a key"), "{found}");
    assert!(found.contains("= help: a value that begins with `{{` needs quotes"), "{found}");
    assert!(found.contains("wf.yaml:9:7: error: `spec`: expected an object, found integer `5`"), "{found}");
}

#[test]
fn truncated_text_is_refused() {
    for text in ["kind: Workflow\nspec:\n  a: \"x", "kind: Workflow\nspec: [", "{\"kind\": \"Workflow\", \"spec\": {"] {
        assert!(document::parse("wf.yaml", text).is_err(), "{text}");
    }
}

#[test]
fn unknown_fields_and_repeated_keys_are_warnings() {
    let text = "kind: Workflow\nspec:\n  entrypiont: a\n  templates:\n  - name: a\n    name: b\n    container: {image: x, terminationMessagePath: /x}\n";
    assert_eq!(
        warnings(text),
        "wf.yaml:3:3: warning: unknown field `spec.entrypiont` is not heeded\n  |\n3 |   entrypiont: a\n  |   ^\n\
         wf.yaml:6:5: warning: `name` is given twice; this value counts\n  |\n6 |     name: b\n  |     ^"
    );
    assert_eq!(only(text).warnings()[0].clone().into_error().severity, Severity::Error);
}

#[test]
fn fields_gone_since_version_4_name_their_replacement() {
    let text = "kind: CronWorkflow\nspec:\n  schedule: '* * * * *'\n  workflowSpec:\n    podPriority: 5\n    synchronization:\n      mutex: {name: m}\n      semaphore: {}\n";
    let found = warnings(text);
    for expected in [
        "wf.yaml:3:3: warning: `spec.schedule` is gone since version 4 and is not heeded",
        "write it as an item of the list `schedules`",
        "name a priority class in `podPriorityClassName`",
        "write it as an item of the list `mutexes`",
        "write it as an item of the list `semaphores`",
    ] {
        assert!(found.contains(expected), "{expected}\n{found}");
    }
}

#[test]
fn a_misspelt_kind_is_told() {
    let found = warnings("kind: workflow\n");
    assert!(found.contains("the kind `workflow` is unknown") && found.contains("did you mean `Workflow`?"), "{found}");
}

#[test]
fn secrets_are_read_and_never_shown() {
    let text = "kind: Secret\nmetadata: {name: s}\ndata: {a: aHVudGVy}\nstringData: {b: tiger}\n";
    let document = only(text);
    let Object::Secret(secret) = &document.object else { panic!("a Secret") };
    assert_eq!(secret.bytes("a").unwrap(), b"hunter");
    assert_eq!(secret.bytes("b").unwrap(), b"tiger");
    assert_eq!(secret.keys().collect::<Vec<_>>(), ["b", "a"]);
    let shown = format!("{:?}", secret);
    assert!(!shown.contains("aHVudGVy") && !shown.contains("tiger"), "{shown}");
    for broken in [
        "kind: Secret\ndata: {a: hunter!}\n",
        "kind: Secret\nstringData:\n  a: {x: hunter}\n",
        "kind: Secret\nstringData:\n  a: [hunter\n",
        "kind: List\nitems:\n- kind: Secret\n  stringData: hunter\n",
        "{\"kind\": \"Secret\", \"data\": {\"a\": 5, \"b\": \"hunter\"}}",
    ] {
        let found = mistakes(broken);
        assert!(!found.contains("hunter"), "{found}");
    }
}
