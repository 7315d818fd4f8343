//! Templates without the fields that this version does not know: Argo does not see those, and what is in them is not checked.

use std::borrow::Cow;

use serde_json::Value;
use tiphys_api::{Field, Template};

/// Fields of Kubernetes that the types keep without naming them; tags in them count.
const KUBERNETES: &[&str] = &[
    "mountPropagation",
    "recursiveReadOnly",
    "resizePolicy",
    "restartPolicyRules",
    "stdinOnce",
    "subPathExpr",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "volumeDevices",
];

/// The template as Argo sees it.
pub(super) fn only(template: Cow<'_, Template>) -> Cow<'_, Template> {
    let mut unknown = Vec::new();
    template.unknown_fields("", &mut |path| {
        let name = path.rsplit('.').next().unwrap_or_default();
        if !KUBERNETES.contains(&name) {
            unknown.push(path);
        }
    });
    if unknown.is_empty() {
        return template;
    }
    let Ok(mut value) = serde_json::to_value(&*template) else { return template };
    unknown.iter().for_each(|path| remove(&mut value, path));
    serde_json::from_value(value).map_or(template, Cow::Owned)
}

/// Takes out a field by its path. Keys with dots are left alone: fields have none.
fn remove(value: &mut Value, path: &str) {
    let (parents, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut at = value;
    for part in parents.split(['.', '[']).filter(|part| !part.is_empty()) {
        let below = match part.strip_suffix(']') {
            Some(index) => index.parse::<usize>().ok().and_then(|index| at.get_mut(index)),
            None => at.get_mut(part),
        };
        let Some(below) = below else { return };
        at = below;
    }
    if let Some(fields) = at.as_object_mut() {
        fields.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_go_at_any_depth() {
        let text = r#"{"name": "a", "odd": "{{x}}", "steps": [[{"name": "b", "odd": 1}]], "container": {"volumeMounts": [{"name": "c", "subPathExpr": "d", "odd": 2}]}}"#;
        let template: Template = serde_json::from_str(text).unwrap();
        let known = serde_json::to_string(&*only(Cow::Borrowed(&template))).unwrap();
        assert!(!known.contains("odd") && known.contains("subPathExpr"), "{known}");
    }
}
