//! Field selectors over nodes: `displayName=build,phase!=Skipped`. argo: util.go, SelectorMatchesNode.

use std::fmt;

use tiphys_api::NodeStatus;

use crate::globals::template_name;

/// Requirements on fields of a node, all of which must hold. apimachinery: fields.ParseSelector.
///
/// The fields are `displayName`, `templateName`, `phase`, `name`, `id`, `templateRef.name`, `templateRef.template` and
/// `inputs.parameters.NAME.value`; of what there is not, the value is empty.
#[derive(Clone, Debug, Default)]
pub struct NodeSelector(Vec<(String, bool, String)>);

impl NodeSelector {
    /// Reads `field=value`, `field==value` and `field!=value`, with commas between them.
    ///
    /// # Errors
    /// In words for the user.
    pub fn parse(text: &str) -> Result<NodeSelector, String> {
        let mut requirements = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let found = part.split_once("!=").map(|(field, value)| (field, false, value));
            let found = found.or_else(|| part.split_once("==").map(|(field, value)| (field, true, value)));
            let found = found.or_else(|| part.split_once('=').map(|(field, value)| (field, true, value)));
            let Some((field, is, value)) = found else {
                return Err(format!("invalid selector: '{text}'; can't understand '{part}'"));
            };
            requirements.push((field.to_string(), is, value.to_string()));
        }
        Ok(NodeSelector(requirements))
    }

    /// Whether all of it holds for a node.
    pub fn matches(&self, node: &NodeStatus) -> bool {
        self.0.iter().all(|(field, is, value)| (field_of(node, field) == *value) == *is)
    }
}

impl fmt::Display for NodeSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (field, is, value)) in self.0.iter().enumerate() {
            let (comma, sign) = (if index == 0 { "" } else { "," }, if *is { "=" } else { "!=" });
            write!(f, "{comma}{field}{sign}{value}")?;
        }
        Ok(())
    }
}

fn field_of(node: &NodeStatus, field: &str) -> String {
    let reference = node.template_ref.as_ref();
    let input = field.strip_prefix("inputs.parameters.").and_then(|rest| rest.strip_suffix(".value"));
    match (field, input) {
        (_, Some(name)) => {
            let inputs = node.inputs.iter().flat_map(|inputs| &inputs.parameters);
            let found =
                inputs.filter(|parameter| parameter.name == name).find_map(|parameter| parameter.value.as_ref());
            found.map(|value| value.as_str().to_string()).unwrap_or_default()
        }
        ("displayName", _) => node.display_name.clone(),
        ("templateName", _) => template_name(node).to_string(),
        ("phase", _) => node.phase.to_string(),
        ("name", _) => node.name.clone(),
        ("id", _) => node.id.clone(),
        ("templateRef.name", _) => reference.map(|reference| reference.name.clone()).unwrap_or_default(),
        ("templateRef.template", _) => reference.map(|reference| reference.template.clone()).unwrap_or_default(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use tiphys_api::NodePhase;

    use super::*;

    #[test]
    fn all_requirements_hold() {
        let node = NodeStatus { display_name: "a".into(), phase: NodePhase::Failed, ..Default::default() };
        let matches = |text: &str| NodeSelector::parse(text).map(|selector| selector.matches(&node));
        assert_eq!(matches("displayName=a,phase==Failed"), Ok(true));
        assert_eq!(matches("displayName=a,phase!=Failed"), Ok(false));
        assert_eq!(matches("inputs.parameters.x.value="), Ok(true));
        let error = "invalid selector: 'displayName'; can't understand 'displayName'".to_string();
        assert_eq!(matches("displayName"), Err(error));
    }
}
