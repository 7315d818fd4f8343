use super::*;
use std::collections::BTreeMap;

fn scope() -> BTreeMap<String, Option<String>> {
    let known = [
        ("inputs.parameters.msg", "a \"quoted\"\n<text>"),
        ("inputs.parameters.n", "5"),
        ("inputs.parameters", "[]"),
        ("workflow.name", "wf"),
        ("which", "msg"),
        ("item", "{\"a\":1}"),
        ("tasks.A.outputs.result", "42"),
    ];
    let mut scope: BTreeMap<String, Option<String>> =
        known.into_iter().map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).collect();
    scope.insert("tasks.B.outputs.parameters.x".to_owned(), None);
    scope
}

fn done(text: &str, allow: bool) -> String {
    match replace(text, &scope(), allow) {
        Ok(text) => text,
        Err(error) => format!("ERROR {error}"),
    }
}

#[test]
fn simple_tags() {
    let cases = [
        (r#""{{inputs.parameters.msg}}""#, r#""a \"quoted\"\n<text>""#),
        (r#""{{ workflow.name }}-x""#, r#""wf-x""#),
        (r#""{{inputs.parameters}}""#, r#""[]""#),
        (r#""{{nope}}""#, r#""{{nope}}""#),
        (r#"{"{{workflow.name}}":1}"#, r#"{"wf":1}"#),
        (r#""{{inputs.parameters.{{which}}}}""#, r#""{{inputs.parameters.msg}}""#),
        (r#""{{open""#, "ERROR Cannot find end tag=\"}}\" in the template starting from \"open\\\"\""),
        ("not json", "ERROR cannot do template replacements with invalid JSON"),
        (
            r#""{{tasks.B.outputs.parameters.x}}""#,
            "ERROR unable to substitute {{tasks.B.outputs.parameters.x}}: output is an absent optional (skipped/omitted \
             node with no default)",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(done(text, true), expected, "{text}");
    }
    assert_eq!(done(r#""{{nope}}""#, false), "ERROR failed to resolve {{nope}}");
}

#[test]
fn expression_tags() {
    let cases = [
        (r#""{{=inputs.parameters.n}}""#, r#""5""#),
        (r#""{{=asInt(inputs.parameters.n) + 1}}""#, r#""6""#),
        (r#""{{=inputs.parameters.msg}}""#, r#""a \"quoted\"\n\u003ctext\u003e""#),
        (r#""{{=asInt(inputs.parameters.n) \u003e 3 ? \"big\" : \"small\"}}""#, r#""big""#),
        (r#""{{=[1, 2]}} {{={\"a\": \"b\"} }} {{=1.5}}""#, r#""[1,2] {\"a\":\"b\"} 1.5""#),
        (r#""{{=toJson(tasks.A)}}""#, r#""{\"outputs\":{\"result\":\"42\"}}""#),
        (r#""{{=tasks.B.outputs.parameters.x ?? \"none\"}}""#, r#""none""#),
        (r#""{{=tasks.B.outputs.parameters.x}}""#, r#""{{=tasks.B.outputs.parameters.x}}""#),
        (r#""{{=retries == \"1\" ? \"a\" : \"b\"}}""#, r#""{{=retries == \"1\" ? \"a\" : \"b\"}}""#),
        (r#""{{=jsonpath(item, \"$.a\")}}""#, r#""1""#),
        (r#""{{=1 +}}""#, "ERROR failed to evaluate expression: unexpected token EOF (1:3)\n | 1 +\n | ..^"),
        (r#""{{=nope.x}}""#, r#""{{=nope.x}}""#),
    ];
    for (text, expected) in cases {
        assert_eq!(done(text, true), expected, "{text}");
    }
}

#[test]
fn expressions_that_must_resolve() {
    let cases = [
        (r#""{{=nope.x}}""#, "ERROR failed to evaluate expression: nope is missing"),
        (
            r#""{{=tasks.B.outputs.parameters.x}}""#,
            "ERROR failed to evaluate expression \"tasks.B.outputs.parameters.x\"",
        ),
        (
            r#""{{=inputs.parameters.n + 1}}""#,
            "ERROR failed to evaluate expression: invalid operation: string + int (1:21)\n | inputs.parameters.n + 1\n | ....................^",
        ),
        (
            r#""{{=workflow.name + 1}}""#,
            "ERROR failed to evaluate expression: invalid operation: string + int (1:15)\n | workflow.name + 1\n | ..............^",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(done(text, false), expected, "{text}");
    }
}

#[test]
fn strict_prefixes() {
    let strict = |text: &str| match replace_strict(text, &scope(), &["steps", "tasks"]) {
        Ok(text) => text,
        Err(error) => format!("ERROR {error}"),
    };
    let cases = [
        (r#""{{tasks.A.outputs.result}}""#, r#""42""#),
        (r#""{{tasks.C.outputs.result}}""#, "ERROR failed to resolve {{tasks.C.outputs.result}}"),
        (r#""{{tasksC}}""#, r#""{{tasksC}}""#),
        (r#""{{tasks.C.outputs.artifacts.x}}""#, r#""{{tasks.C.outputs.artifacts.x}}""#),
        (r#""{{=tasks.C.outputs.result}}""#, "ERROR failed to evaluate expression: tasks.C is missing"),
        (r#""{{=steps.C}}""#, "ERROR failed to evaluate expression: steps is missing"),
        (r#""{{=tasks.C?.outputs ?? \"d\"}}""#, r#""d""#),
        (r#""{{=inputs.other}}""#, r#""{{=inputs.other}}""#),
    ];
    for (text, expected) in cases {
        assert_eq!(strict(text), expected, "{text}");
    }
    let missing = replace_strict(r#""{{tasks.C.x}}""#, &scope(), &["tasks"]).unwrap_err();
    assert!(matches!(&missing, TemplateError::StrictMissing { name, .. } if name == "tasks.C.x"));
    assert!(missing.is_missing_variable());
}

#[test]
fn values_give_what_text_gives() {
    let json = serde_json::json!({
        "a": "{{workflow.name}} {{=asInt(inputs.parameters.n) > 3}}",
        "{{which}}": ["{{inputs.parameters.msg}}", 1, null, "plain"],
        "b": "{{=\"<x>\"}}",
    });
    let text = replace(&serde_json::to_string(&json).unwrap(), &scope(), true).unwrap();
    let value = replace_value(&json, &scope(), true).unwrap();
    assert_eq!(value, serde_json::from_str::<serde_json::Value>(&text).unwrap());
    let across = serde_json::json!({"a": "{{=\"x", "b": "y\"}}"});
    assert!(replace_value(&across, &scope(), true).is_err() || replace_value(&across, &scope(), true).is_ok());
}

#[test]
fn placeholders_let_expressions_fail() {
    let mut scope = scope();
    scope.insert("inputs.parameters.p".to_owned(), Some(format!("{PLACEHOLDER_PREFIX}1")));
    let text = r#""{{=asInt(inputs.parameters.p)}}""#;
    assert_eq!(replace(text, &scope, false).unwrap(), text);
}

#[test]
fn layers_hide() {
    let inner = BTreeMap::from([("a".to_owned(), "inner".to_owned())]);
    let outer = BTreeMap::from([("a".to_owned(), "outer".to_owned()), ("b.c".to_owned(), "outer".to_owned())]);
    let both = Layered(&inner, &outer);
    assert_eq!(replace(r#""{{a}} {{b.c}} {{=a + b.c}}""#, &both, false).unwrap(), r#""inner outer innerouter""#);
}

#[test]
fn absent_references_are_alone() {
    let absent = |text: &str| is_absent_reference(text, &scope());
    assert!(absent("{{tasks.B.outputs.parameters.x}}"));
    assert!(absent("{{ tasks.B.outputs.parameters.x }}"));
    for text in
        ["tasks.B.outputs.parameters.x", "a{{tasks.B.outputs.parameters.x}}", "{{tasks.A.outputs.result}}", "{{nope}}"]
    {
        assert!(!absent(text), "{text}");
    }
}
