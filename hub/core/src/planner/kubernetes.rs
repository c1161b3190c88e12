//! Ranges of Kubernetes versions, in the grammar that Helm and Flux use, and versions as clusters report them.
//!
//! The grammar, mapped onto semver's comparators: alternatives are separated by `||`; the comparators of one by spaces
//! or commas, and all of them must hold. A comparator is `=`, `>`, `>=`, `<`, `<=`, `~`, `^` or `!=` and a version of one to
//! three parts, `x` or `*` for a part that does not matter; without an operator it is `=`, so that `1.33` is any patch of
//! 1.33; `1.33 - 1.35` is both ends and what is between. A leading `v` is allowed. Of a cluster's version only the three
//! numbers count: `v1.35.4-gke.100` and `1.35.4+k3s1` are 1.35.4.

use semver::{Version, VersionReq};

/// A range of Kubernetes versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KubernetesRange {
    /// At least one of these must hold whole.
    alternatives: Vec<Vec<Comparator>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Comparator {
    Matches(VersionReq),
    MatchesNot(VersionReq),
}

/// A range that could not be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a range of Kubernetes versions such as `>=1.33 <1.36`")]
pub struct RangeError(String);

impl KubernetesRange {
    /// Reads a range.
    ///
    /// # Errors
    /// The range that could not be understood.
    pub fn parse(text: &str) -> Result<Self, RangeError> {
        let alternatives: Option<Vec<_>> = text.split("||").map(alternative).collect();
        alternatives.map(|alternatives| Self { alternatives }).ok_or_else(|| RangeError(text.to_owned()))
    }

    /// Tells whether a version, as an API server reports it, lies in the range; `None` if it is not a version.
    #[must_use]
    pub fn contains(&self, reported: &str) -> Option<bool> {
        let version = reported_version(reported)?;
        let holds = |comparator: &Comparator| match comparator {
            Comparator::Matches(requirement) => requirement.matches(&version),
            Comparator::MatchesNot(requirement) => !requirement.matches(&version),
        };
        Some(self.alternatives.iter().any(|comparators| comparators.iter().all(holds)))
    }
}

fn reported_version(text: &str) -> Option<Version> {
    let text = text.trim().trim_start_matches('v');
    let core = text.split(['-', '+']).next()?;
    let mut parts = core.split('.').map(|part| part.parse::<u64>().ok());
    let version = Version::new(parts.next()??, parts.next()??, parts.next().unwrap_or(Some(0))?);
    parts.next().is_none().then_some(version)
}

fn alternative(text: &str) -> Option<Vec<Comparator>> {
    // A hyphen range has spaces around the hyphen, so that it is not a pre-release.
    if let Some((low, high)) = text.split_once(" - ") {
        return Some(vec![comparator(&format!(">={}", low.trim()))?, comparator(&format!("<={}", high.trim()))?]);
    }
    let mut comparators = Vec::new();
    let mut operator = String::new();
    for word in text.split([' ', ',', '\t']).filter(|word| !word.is_empty()) {
        operator.push_str(word);
        // `>= 1.33` is one comparator in two words.
        if word.ends_with(|character: char| "=<>!~^".contains(character)) {
            continue;
        }
        comparators.push(comparator(&operator)?);
        operator.clear();
    }
    (operator.is_empty() && !comparators.is_empty()).then_some(comparators)
}

fn comparator(text: &str) -> Option<Comparator> {
    let split = text.find(|character: char| !"=<>!~^".contains(character))?;
    let (operator, version) = text.split_at(split);
    let version = version.trim_start_matches('v').replace(['x', 'X'], "*");
    let numbers = |part: &str| part == "*" || part.parse::<u64>().is_ok();
    if !version.split('.').all(numbers) {
        return None;
    }
    let (operator, negated) = match operator {
        "" | "=" | "==" => ("=", false),
        "!=" => ("=", true),
        ">" | ">=" | "<" | "<=" | "~" | "^" => (operator, false),
        _ => return None,
    };
    // A wildcard stands alone in semver's grammar.
    let fixed = version.trim_end_matches(".*");
    let requirement =
        if fixed == "*" { VersionReq::STAR } else { VersionReq::parse(&format!("{operator}{fixed}")).ok()? };
    Some(if negated { Comparator::MatchesNot(requirement) } else { Comparator::Matches(requirement) })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(">=1.33 <1.36", "v1.33.0", true)]
    #[case(">=1.33 <1.36", "v1.35.4-gke.100", true)]
    #[case(">=1.33, <1.36", "1.35.4+k3s1", true)]
    #[case(">=1.33 <1.36", "v1.36.0", false)]
    #[case(">=1.33 <1.36", "v1.36.0-alpha.1", false)]
    #[case(">= 1.33.2 < 1.36", "v1.33.1", false)]
    #[case("1.33", "v1.33.9", true)]
    #[case("1.33.x", "v1.34.0", false)]
    #[case("v1.33.*", "v1.33.0", true)]
    #[case("*", "v1.20", true)]
    #[case("1.33 - 1.35", "v1.35.9", true)]
    #[case("1.33 - 1.35", "v1.36.0", false)]
    #[case("~1.33.2", "v1.33.5", true)]
    #[case("~1.33.2", "v1.34.0", false)]
    #[case("^1.33", "v1.40.0", true)]
    #[case("<1.30 || >=1.33", "v1.31.0", false)]
    #[case("<1.30 || >=1.33", "v1.29.0", true)]
    #[case(">=1.33 !=1.34", "v1.34.7", false)]
    #[case(">1.33", "v1.33.7", false)]
    #[case("<=1.33", "v1.33.7", true)]
    fn ranges(#[case] range: &str, #[case] version: &str, #[case] inside: bool) {
        let range = KubernetesRange::parse(range).expect("a range");
        assert_eq!(range.contains(version), Some(inside));
    }

    #[rstest]
    #[case("")]
    #[case(">=")]
    #[case(">=1.33 <")]
    #[case("=>1.33")]
    #[case("one")]
    #[case("1.33 ||")]
    #[case(">=1.33-0")]
    fn bad_ranges(#[case] range: &str) {
        assert_eq!(KubernetesRange::parse(range), Err(RangeError(range.to_owned())));
    }

    #[test]
    fn what_is_no_version_is_not_judged() {
        let range = KubernetesRange::parse(">=1.33").expect("a range");
        assert_eq!(range.contains(""), None);
        assert_eq!(range.contains("latest"), None);
    }
}
