//! Reads the text form of a label selector.

use super::{LabelSelector, Operator, Requirement};

/// A selector that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot understand {0:?} in a label selector; write it as in env=prod,tier in (a,b),!old")]
pub struct SelectorError(String);

pub(super) fn parse(text: &str) -> Result<LabelSelector, SelectorError> {
    let mut selector = LabelSelector::default();
    if text.trim().is_empty() {
        return Ok(selector);
    }
    for part in split_outside_parentheses(text) {
        let part = part.trim();
        let requirement = requirement(part).ok_or_else(|| SelectorError(part.to_owned()))?;
        selector.match_expressions.push(requirement);
    }
    Ok(selector)
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .collect()
}

fn requirement(part: &str) -> Option<Requirement> {
    if let Some(key) = part.strip_prefix('!') {
        return make(key, Operator::DoesNotExist, Vec::new());
    }
    if let Some((key, value)) = part.split_once("!=") {
        return make(key, Operator::NotIn, vec![value_of(value)?]);
    }
    if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        return make(key, Operator::In, vec![value_of(value)?]);
    }
    if let Some(inside) = part.strip_suffix(')') {
        let (head, list) = inside.split_once('(')?;
        let mut words = head.split_whitespace();
        let (key, operator) = (words.next()?, words.next()?);
        let operator = match operator {
            "in" => Operator::In,
            "notin" => Operator::NotIn,
            _ => return None,
        };
        let values = list.split(',').map(value_of).collect::<Option<Vec<_>>>()?;
        return if words.next().is_none() { make(key, operator, values) } else { None };
    }
    make(part, Operator::Exists, Vec::new())
}

fn make(key: &str, operator: Operator, values: Vec<String>) -> Option<Requirement> {
    let key = key.trim();
    is_word(key).then(|| Requirement { key: key.to_owned(), operator, values })
}

fn value_of(text: &str) -> Option<String> {
    let text = text.trim();
    (text.is_empty() || is_word(text)).then(|| text.to_owned())
}

fn is_word(text: &str) -> bool {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "-_./".contains(character);
    !text.is_empty() && text.chars().all(allowed)
}
