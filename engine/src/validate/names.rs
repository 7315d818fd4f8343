//! What may be a name. argo: workflow/validate/validate.go, isValidWorkflowFieldName and its kin.

use super::report::{Outcome, Place, Report};
use super::scope::PLACEHOLDER;

const LONGEST: usize = 128;

/// Which rule a list's names follow.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Rule {
    /// Templates, tasks, containers.
    Field,
    /// Parameters and artifacts.
    Value,
}

/// Checks that each name of a list is there, well formed and given once. `prefix` begins the message; `place` is the list.
pub(super) fn check<'a>(
    report: &mut Report,
    place: &Place,
    prefix: &str,
    rule: Rule,
    names: impl Iterator<Item = &'a str>,
) -> Outcome {
    let mut seen = std::collections::HashSet::new();
    for (index, name) in names.enumerate() {
        let item = || place.below(format_args!("[{index}]"));
        if name.is_empty() {
            report.error(&item(), format!("{prefix}[{index}].name is required"))?;
            continue;
        }
        let wrong = match rule {
            Rule::Field => field(name),
            Rule::Value => value(name),
        };
        if let Some(wrong) = wrong {
            report.error(&item().below(".name"), format!("{prefix}[{index}].name: '{name}' is invalid: {wrong}"))?;
        }
        if !seen.insert(name) {
            report.error(&item().below(".name"), format!("{prefix}[{index}].name '{name}' is not unique"))?;
        }
    }
    Ok(())
}

/// What is wrong with the name of a template, step or task.
pub(super) fn field(name: &str) -> Option<String> {
    let mut wrong = Vec::new();
    if name.len() > LONGEST {
        wrong.push(format!("must be no more than {LONGEST} characters"));
    }
    let well_formed = name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !well_formed {
        wrong.push(
            "name must consist of alpha-numeric characters or '-', and must start with an alpha-numeric character \
             (e.g. My-name1-2, 123-NAME)"
                .to_string(),
        );
    }
    (!wrong.is_empty()).then(|| wrong.join(";"))
}

/// As [`field`], for a step's name in which tags have been filled in with placeholders.
pub(super) fn step(name: &str) -> Option<String> {
    let mut plain = String::new();
    let mut rest = name;
    while let Some((before, after)) = rest.split_once(PLACEHOLDER) {
        plain.push_str(before);
        let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        plain.push_str(if digits > 0 { "x" } else { PLACEHOLDER });
        rest = &after[digits..];
    }
    plain.push_str(rest);
    field(&plain)
}

/// What is wrong with the name of a parameter or artifact.
pub(super) fn value(name: &str) -> Option<String> {
    let well_formed =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    (!well_formed).then(|| {
        "Parameter/Artifact name must consist of alpha-numeric characters, '_' or '-' e.g. my_param_1, MY-PARAM-1"
            .to_string()
    })
}

/// Whether a text holds a tag that stands for a parameter, such as `{{inputs.parameters.x}}`.
pub(super) fn holds_parameter(text: &str) -> bool {
    text.match_indices("{{").any(|(from, _)| {
        let Some((tag, _)) = text[from + 2..].split_once("}}") else { return false };
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        let mut segments = tag.split('.');
        segments.next().is_some_and(|first| !first.is_empty() && first.bytes().all(letter))
            && segments.all(|segment| !segment.is_empty() && segment.bytes().all(|byte| letter(byte) || byte == b'_'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_steps_may_hold_placeholders() {
        assert_eq!(step(&format!("run-{PLACEHOLDER}12")), None);
        assert!(step(&format!("run_{PLACEHOLDER}12")).is_some());
        assert!(step(PLACEHOLDER).is_some());
    }

    #[test]
    fn parameters_in_texts() {
        for text in ["{{a}}", "x {{inputs.parameters.a_b}} y", "{{ {{a.b}}"] {
            assert!(holds_parameter(text), "{text}");
        }
        for text in ["a", "{{ a }}", "{{a_b}}", "{{a.}}", "{{a", "{{=a}}"] {
            assert!(!holds_parameter(text), "{text}");
        }
    }
}
