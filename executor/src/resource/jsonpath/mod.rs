//! `kubectl get -o jsonpath=TEMPLATE`: text with paths in braces, `{range}` to `{end}`, filters, and Go's way to print.
//!
//! argo: workflow/executor/resource.go, SaveResourceParameters; k8s.io/client-go/util/jsonpath. The expression function
//! `jsonpath()` is another dialect, with other steps, other results and other errors, so nothing is shared with it.
//! Entries of objects come in the order of their names, where Go has none.

mod parse;
mod print;
mod walk;

use serde_json::Value;

pub(crate) use print::held;
use walk::Walk;

/// A parsed template.
#[derive(Debug, Clone)]
pub struct Template {
    nodes: Vec<Node>,
}

/// A piece of a template, or a step of a path.
#[derive(Debug, Clone)]
enum Node {
    /// What stands in braces: steps, each on the results of the one before.
    List(Vec<Node>),
    Text(String),
    Identifier(String),
    Field(String),
    /// From, to, step.
    Slice([Bound; 3]),
    Filter {
        left: Vec<Node>,
        /// None: the left side must only exist.
        compared: Option<(String, Vec<Node>)>,
    },
    Int(i64),
    Float(f64),
    Bool(bool),
    Wildcard,
    Recursive,
    Union(Vec<Vec<Node>>),
}

/// One number of a slice.
#[derive(Debug, Clone, Copy, Default)]
struct Bound {
    value: i64,
    known: bool,
    /// Not written: the end of a single index.
    derived: bool,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// client-go's text of what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { nodes: parse::template(text, 0)? })
    }

    /// The text that the template gives for an object. A field that is missing gives nothing.
    ///
    /// # Errors
    /// client-go's text: an index beyond the end, a comparison of different kinds, an unknown word.
    pub fn render(&self, object: &Value) -> Result<String, String> {
        Walk::new(&self.nodes).render(object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::recorded::{object, rows};

    #[test]
    fn templates_come_out_as_recorded() {
        let object = object();
        let mut wrong = Vec::new();
        for (text, outcome, message) in rows("jsonpaths.tsv") {
            let expected = match outcome.as_str() {
                "PARSE_ERR" | "RUN_ERR" => (outcome.clone(), message),
                printed => ("OK".to_owned(), serde_json::from_str(printed).unwrap()),
            };
            let got = match Template::parse(&text) {
                Err(message) => ("PARSE_ERR".to_owned(), message),
                Ok(template) => match template.render(&object) {
                    Err(message) => ("RUN_ERR".to_owned(), message),
                    Ok(printed) => ("OK".to_owned(), printed),
                },
            };
            if got != expected {
                wrong.push(format!("{text}\n  expected {expected:?}\n  got      {got:?}"));
            }
        }
        assert!(wrong.is_empty(), "{} rows differ\n{}", wrong.len(), wrong.join("\n"));
    }

    #[test]
    fn templates_from_outside_end() {
        let deep = "[?(".repeat(2_000);
        assert!(Template::parse(&format!("{{{deep}")).is_err());
        let nested = format!("{{range .x[*]}}{}", "{range @[*]}".repeat(500));
        assert!(Template::parse(&nested).is_err());
    }
}
