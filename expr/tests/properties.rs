//! What holds for every text: no panic, no overflow of the stack, no endless run; and values survive their texts.

use proptest::prelude::*;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tiphys_expr::lang::{self, Program};
use tiphys_expr::value::Value;
use tiphys_expr::{go, jsonpath, template, when};

fn env() -> Value {
    let json = serde_json::json!({
        "n": 5, "s": "text", "b": true, "z": null, "items": [1, 2, 3], "item": {"name": "x", "deep": {"k": [1]}},
    });
    let Value::Map(map) = Value::from_json(&json) else { panic!("the environment is no object") };
    lang::argo_env(map.entries.clone())
}

/// Pieces that make texts which get far into the parsers.
fn soup() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "n",
        "s",
        "b",
        "z",
        "items",
        "item",
        "item.name",
        "sprig",
        ".",
        "?.",
        "[",
        "]",
        "(",
        ")",
        "{",
        "}",
        ",",
        ";",
        ":",
        "?",
        "??",
        "?:",
        "#",
        "#acc",
        "#index",
        "1",
        "2.5",
        "0x1f",
        "\"a\"",
        "'b'",
        "`c`",
        "nil",
        "true",
        "not ",
        " in ",
        " and ",
        "||",
        "==",
        "!=",
        "<",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "**",
        "..",
        "|",
        " matches ",
        " contains ",
        "let x = ",
        "if ",
        " else ",
        "map(",
        "filter(",
        "reduce(",
        "sum(",
        "len(",
        "split(",
        "sprig.trim(",
        "date(",
        "duration(\"1s\")",
        "toJSON(",
        " ",
        "\\",
        "$env",
        "=~",
        "{{",
        "}}",
        "{{=",
        "$..",
        "$.a[?(@.b > 1)]",
        "@",
        "::len(",
        "\"",
        "'",
        "//",
        "/*",
    ]);
    prop::collection::vec(pieces, 0..24).prop_map(|parts| parts.concat())
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_parsers_panic(text in any::<String>()) {
        let _ = lang::parse(&text);
        let _ = when::evaluate(&text);
        let _ = template::scan(&text);
        let _ = jsonpath::query(&text, &Value::Nil);
        let _ = go::parse_duration(&text);
        let _ = go::sprintf(&text, &[Value::Int(1), Value::str("x")]);
    }

    #[test]
    fn no_mixture_makes_an_evaluation_panic(text in soup()) {
        let env = env();
        let _ = lang::eval(&text, &env);
        let _ = when::evaluate(&text);
        let _ = jsonpath::query(&text, &env);
        let _ = template::replace(&go::json_quote(&text), &BTreeMap::<String, String>::new(), true);
    }

    #[test]
    fn text_without_tags_stays(value in json()) {
        let text = value.to_string();
        prop_assume!(!text.contains("{{"));
        let none = BTreeMap::<String, String>::new();
        prop_assert_eq!(template::replace(&text, &none, false).ok(), Some(text));
        prop_assert_eq!(template::replace_value(&value, &none, false).ok(), Some(value));
    }

    #[test]
    fn a_simple_tag_brings_its_value(value in "[ -~\n\t\r\u{8}äöüßéàçñ日本語абв€✓😀]*") {
        let scope = BTreeMap::from([("v".to_owned(), value.clone())]);
        let replaced = template::replace("\"{{v}}\"", &scope, false).unwrap_or_default();
        prop_assert_eq!(serde_json::from_str::<String>(&replaced).ok(), Some(value.clone()));
        let evaluated = template::replace("\"{{=v}}\"", &scope, false).unwrap_or_default();
        prop_assert_eq!(serde_json::from_str::<String>(&evaluated).ok(), Some(value));
    }

    #[test]
    fn values_survive_their_json(json in json()) {
        let value = Value::from_json(&json);
        let again = Value::from_json(&value.to_json().unwrap_or_default());
        prop_assert_eq!(&again, &value);
        let text = go::marshal(&value).unwrap_or_default();
        prop_assert_eq!(go::marshal(&again).unwrap_or_default(), text);
    }

    #[test]
    fn durations_survive_their_text(nanoseconds in any::<i64>()) {
        prop_assert_eq!(go::parse_duration(&go::format_duration(nanoseconds)).ok(), Some(nanoseconds));
    }
}

/// Runs on a stack half as large as the threads of servers have.
fn on_a_small_stack(f: impl FnOnce() + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(f);
    thread.expect("a thread").join().expect("no panic");
}

#[test]
fn deep_texts_are_refused_or_run() {
    on_a_small_stack(|| {
        let env = env();
        for depth in [20, 45, 94, 200, 20_000] {
            let around =
                |open: &str, inner: &str, close: &str| format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
            let texts = [
                around("(", "1", ")"),
                around("[", "1", "]"),
                around("{a: ", "1", "}"),
                around("-", "n", ""),
                around("not ", "b", ""),
                around("len(", "s", ")"),
                around("map(items, ", "#", ")"),
                around("", "item", "?.a"),
                around("", "item", "[0]"),
                around("b ? 1 : ", "2", ""),
                around("if b { 1 } else ", "{ 2 }", ""),
                around("let x = ", "1", "; x"),
                around("2 ** ", "2", ""),
                around("sprig.list(", "1", ")"),
                around("1; ", "2", ""),
            ];
            for text in texts {
                let _ = lang::eval(&text, &env);
                let _ = template::replace(&format!("\"{{{{={text}}}}}\""), &BTreeMap::<String, String>::new(), true);
                let _ = when::evaluate(&text);
            }
            let _ = jsonpath::query(&format!("${}", "..".repeat(depth)), &env);
            let _ = jsonpath::query(&format!("$[?({}@{})]", "(".repeat(depth), ")".repeat(depth)), &env);
        }
    });
}

#[test]
fn long_chains_run() {
    on_a_small_stack(|| {
        let env = env();
        let chain = |operand: &str, operator: &str, count: usize| vec![operand; count].join(operator);
        assert_eq!(lang::eval(&chain("b", " && ", 3_000), &env), Ok(Value::Bool(true)));
        assert_eq!(lang::eval(&chain("n", " + ", 3_000), &env), Ok(Value::Float(15_000.0)));
        assert!(lang::eval(&chain("n", " + ", 6_000), &env).is_err(), "more nodes than expr-lang allows");
        assert_eq!(when::evaluate(&chain("true", " && ", 400)), Ok(true));
    });
}

#[test]
fn greedy_expressions_are_stopped() {
    on_a_small_stack(|| {
        let env = env();
        let greedy = [
            "reduce(1..60, #acc + #acc, \"a\")",
            "reduce(1..900000, [#acc], 0)",
            "reduce(1..60, [#acc, #acc], 0)",
            "reduce(1..60, {\"a\": #acc, \"b\": #acc}, 0)",
            "reduce(1..60, concat(#acc, #acc), [1])",
            "all(1..900000, all(1..900000, true))",
            "map(1..900000, map(1..900000, 1))",
            "repeat(\"a\", 999999999)",
            "sprig.repeat(999999999, \"a\")",
            "sprig.until(999999999)",
            "sprig.indent(999999999, \"a\")",
            "sprig.randAlpha(999999999)",
            "1..999999999",
            "filter(1..900000, string(#) matches s + string(#))",
            "map(1..900000, sprig.regexMatch(\"(a|b)*c{1,50}\", s))",
            "reduce(1..900000, replace(#acc, \"a\", \"aa\"), \"a\")",
            "uniq(1..900000)",
            "sprig.printf(\"%999999999d\", 1)",
        ];
        for text in greedy {
            let start = Instant::now();
            assert!(lang::eval(text, &env).is_err(), "{text}");
            assert!(start.elapsed() < Duration::from_secs(30), "{text} took {:?}", start.elapsed());
        }
    });
}

#[test]
fn a_program_runs_with_other_values() {
    let shape = Value::map([("x", Value::Int(1))]);
    let program = Program::compile("x + 1", &shape).expect("it compiles");
    for x in [1, 41] {
        assert_eq!(program.run(&Value::map([("x", Value::Int(x))])), Ok(Value::Int(x + 1)));
    }
}
