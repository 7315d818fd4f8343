//! Every dependency has a licence that deny.toml allows.

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell::{cargo, output, root};

/// Compares the licences of the whole dependency tree with the list.
pub fn check() -> Result<()> {
    let allowed = allowed()?;
    let metadata = output(cargo(&["metadata", "--format-version", "1", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is no JSON")?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
    let mut refused = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let licence = package["license"].as_str().unwrap_or_default();
        if !holds(licence, &allowed) {
            refused.push(format!("{name} {}: '{licence}'", package["version"].as_str().unwrap_or_default()));
        }
    }
    if !refused.is_empty() {
        bail!("licences that deny.toml does not allow:\n  {}", refused.join("\n  "));
    }
    eprintln!("licences: {} packages, all allowed", packages.len());
    Ok(())
}

fn allowed() -> Result<Vec<String>> {
    let path = root().join("deny.toml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let list = text.split_once("allow = [").and_then(|(_, rest)| rest.split_once(']')).map(|(list, _)| list);
    let list = list.context("deny.toml has no list `allow`")?;
    Ok(list.split(',').map(|item| item.trim().trim_matches('"').to_string()).filter(|item| !item.is_empty()).collect())
}

/// Whether an SPDX expression holds with the licences allowed: `A OR B` needs one, `A AND B` both.
fn holds(expression: &str, allowed: &[String]) -> bool {
    let plain = expression.replace('/', " OR ").replace(['(', ')'], " ");
    plain.split(" OR ").any(|alternative| {
        let mut parts = alternative.split(" AND ").map(str::trim).filter(|part| !part.is_empty()).peekable();
        parts.peek().is_some() && parts.all(|part| allowed.iter().any(|known| known == part))
    })
}

#[cfg(test)]
mod tests {
    use super::holds;

    #[test]
    fn expressions() {
        let allowed = ["MIT".to_string(), "Apache-2.0".to_string()];
        assert!(holds("MIT OR GPL-3.0", &allowed));
        assert!(holds("MIT/Apache-2.0", &allowed));
        assert!(holds("MIT AND Apache-2.0", &allowed));
        assert!(!holds("MIT AND ISC", &allowed));
        assert!(!holds("", &allowed));
    }
}
