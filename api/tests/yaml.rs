//! YAML must mean here what it means to Go.

use proptest::prelude::*;
use serde_json::{Value, json};
use tiphys_api::yaml::{self, Content, MAX_DEPTH};

fn read(text: &str) -> Value {
    yaml::to_json(text).unwrap_or_else(|error| json!({ "error": error.to_string() }))
}

#[test]
fn scalars_and_keys() {
    let cases = [
        ("a: [yes, No, on, OFF, y, N, True]", json!({"a": [true, false, true, false, true, false, true]})),
        ("a: [0755, 0o17, 0x1F, 0b11, 1_000, -0, +1, 089]", json!({"a": [493, 15, 31, 3, 1000, 0, 1, 89]})),
        ("a: [1e3, 1.0, .5, 1., 0.1e-3]", json!({"a": [1000, 1, 0.5, 1, 0.0001]})),
        (
            "a: [100Mi, 1:30, 2024-01-02, =, x#c, 1e400]",
            json!({"a": ["100Mi", "1:30", "2024-01-02", "=", "x#c", "1e400"]}),
        ),
        (
            "a: [12345678901234567890, 123456789012345678901234567890]",
            json!({"a": [12345678901234567890u64, 1.2345678901234568e29]}),
        ),
        ("a: [~, null, Null, NULL, '', \"yes\"]", json!({"a": [null, null, null, null, "", "yes"]})),
        ("{yes: 1, 2: b, 1.5: c, y: d}", json!({"true": "d", "2": "b", "1.5": "c"})),
        (
            "a: !!str 5\nb: !!int '5'\nc: !!binary aGk=\nd: !mine 7\ne: ! 7",
            json!({"a": "5", "b": 5, "c": "hi", "d": "7", "e": 7}),
        ),
        ("a: |\n  x\n  y\nb: >-\n  x\n  y", json!({"a": "x\ny\n", "b": "x y"})),
        ("a: 1\na: 2", json!({"a": 2})),
        ("a: !!str\nb: !!str ~\nc: ''", json!({"a": "", "b": "~", "c": ""})),
        ("a: [\n  \"x\n  y\"\n]\nb: {\nc: 1\n}", json!({"a": ["x y"], "b": {"c": 1}})),
        ("  - a: [\"\n    x\n  \"]\n    b: 1", json!([{"a": [" x "], "b": 1}])),
        ("", Value::Null),
        ("# nothing\n---\n", Value::Null),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text), expected, "{text}");
    }
}

#[test]
fn anchors_and_merges() {
    assert_eq!(read("x: &a {k: 1}\nz: {<<: *a, k2: 2}"), json!({"x": {"k": 1}, "z": {"k": 1, "k2": 2}}));
    assert_eq!(read("x: &a {k: 1}\nz: {k: 2, <<: *a}"), json!({"x": {"k": 1}, "z": {"k": 1}}), "the order counts");
    assert_eq!(read("z: {<<: [{k: 1}, {k: 2, l: 3}]}"), json!({"z": {"k": 1, "l": 3}}), "the first of a list counts");
    assert_eq!(read("x: &a key\n*a : 1"), json!({"x": "key", "key": 1}));
    assert_eq!(read("a: '<<'\n\"<<\": 1"), json!({"a": "<<", "<<": 1}));
}

#[test]
fn what_cannot_be_read_says_where() {
    let cases = [
        ("a: .inf", "1:4: JSON has no such number: inf"),
        ("b: 1\nnull: a", "2:1: a key cannot be null: put it in quotes"),
        ("a: {{foo}}", "1:5: a list or mapping cannot be a key; a text that begins with `{` needs quotes"),
        ("a:\n  <<: 5", "2:7: `<<` takes a mapping or a list of mappings"),
        ("a: &a [*a]", "1:8: an anchor's value contains itself"),
        ("a: !!int x", "1:10: cannot decode !!str `x` as a !!int"),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text), json!({ "error": expected }), "{text}");
    }
    for text in ["a: @x", "a: `x`", "? a : b\nc", "a: 'x", "a: [1", "a:\n\tb: 1", "a: b: c", "*unknown"] {
        assert!(yaml::to_json(text).is_err(), "{text}");
    }
}

#[test]
fn every_key_and_value_has_its_place() {
    let text = "spec:\n  templates:\n  - name: é\n    labels: {a.b/c: x, a: {b: y}}\n    empty:\n";
    let tree = &yaml::parse(text).unwrap()[0];
    let place = |path: &str| tree.root.find(path).map(|f| (f.position.to_string(), f.node.position.to_string()));
    let at = |key: &str, value: &str| Some((key.to_string(), value.to_string()));
    assert_eq!(place("spec.templates"), at("2:3", "3:5"));
    assert_eq!(place("spec.templates[0]"), at("3:5", "3:5"));
    assert_eq!(place("spec.templates[0].name"), at("3:5", "3:11"));
    assert_eq!(place("spec.templates[0].labels.a.b/c"), at("4:14", "4:21"));
    assert_eq!(place("spec.templates[0].labels.a.b"), at("4:28", "4:31"));
    assert_eq!(place("spec.templates[0].empty"), at("5:5", "5:5"));
    assert_eq!(place("spec.templates[1]"), None);
    assert_eq!(tree.root.find_nearest("spec.templates[0].inputs.parameters").position.to_string(), "3:5");
}

#[test]
fn limits_are_errors() {
    let deep = "[".repeat(MAX_DEPTH + 2) + &"]".repeat(MAX_DEPTH + 2);
    assert!(yaml::to_json(&deep).unwrap_err().message.contains("nested more than 200 deep"));
    let blocks: String = (0..MAX_DEPTH + 2).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    assert!(yaml::to_json(&blocks).unwrap_err().message.contains("nested more than 200 deep"));
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_string();
    for level in 1..12 {
        let below = format!("*a{}, ", level - 1).repeat(10);
        bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
    }
    assert_eq!(yaml::to_json(&bomb).unwrap_err().message, "the document contains excessive aliasing");
    let long = "a".repeat(yaml::MAX_BYTES + 1);
    assert!(yaml::to_json(&long).unwrap_err().message.contains("at most 67108864 are read"));
}

#[test]
fn duplicates_are_told() {
    let trees = yaml::parse("a: 1\nb: {x: 1, <<: {x: 2}}\na: 2\n---\nc: 1").unwrap();
    let told: Vec<_> = trees[0].duplicates.iter().map(|d| format!("{} {}", d.position, d.key)).collect();
    assert_eq!(told, ["3:1 a"]);
    assert!(trees[1].duplicates.is_empty());
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in r##"([\[\]{}:,&*!|>%@`'"#?a-c0-9 <~\-\t]|\n|: |- |\*a|&a |!!int |<<: ){0,60}"##) {
        if let Ok(trees) = yaml::parse(&text) {
            for tree in trees {
                let lines = text.lines().count() as u32 + 1;
                prop_assert!(tree.root.position.line <= lines);
                prop_assert!(!matches!(tree.root.content, Content::Null));
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(text in "\\PC{0,80}") {
        let _ = yaml::parse(&text);
    }

    #[test]
    fn json_means_the_same(value in json_value()) {
        prop_assert_eq!(yaml::to_json(&serde_json::to_string(&value).unwrap()).unwrap(), value.clone());
        prop_assert_eq!(yaml::to_json(&serde_json::to_string_pretty(&value).unwrap()).unwrap(), value);
    }
}

fn json_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z.{}= -]{1,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}
