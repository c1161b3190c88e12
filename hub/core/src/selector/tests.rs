use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn labels(text: &str) -> BTreeMap<String, String> {
    let pair = |pair: &str| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
    text.split(',').filter_map(pair).collect()
}

#[rstest]
#[case("", "", true)]
#[case("env=prod", "env=prod,tier=a", true)]
#[case("env==prod", "env=dev", false)]
#[case("env!=prod", "env=dev", true)]
#[case("env!=prod", "tier=a", true)]
#[case("env != prod", "env=prod", false)]
#[case("tier in (a, b),env=prod", "tier=b,env=prod", true)]
#[case("tier in (a,b)", "env=prod", false)]
#[case("tier notin (a,b)", "env=prod", true)]
#[case("tier notin (a,b)", "tier=a", false)]
#[case("!old", "env=prod", true)]
#[case("!old", "old=", false)]
#[case("old", "old=yes", true)]
#[case("example.com/zone=eu", "example.com/zone=eu", true)]
fn meaning_is_that_of_kubernetes(#[case] selector: &str, #[case] given: &str, #[case] matches: bool) {
    let selector = LabelSelector::parse(selector).expect("a selector");
    assert_eq!(selector.matches(&labels(given)), matches);
    assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector), "the printed form is read back");
}

#[rstest]
#[case("env=", true)]
#[case("=prod", false)]
#[case("tier in a,b", false)]
#[case("tier in (a", false)]
#[case("tier within (a)", false)]
#[case("a b", false)]
#[case("env=prod,", false)]
fn bad_selectors_are_refused(#[case] selector: &str, #[case] good: bool) {
    assert_eq!(LabelSelector::parse(selector).is_ok(), good);
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,40}") {
        if let Ok(selector) = LabelSelector::parse(&text) {
            prop_assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector));
        }
    }

    #[test]
    fn in_and_notin_are_opposites(value in "[a-c]?", key_there in any::<bool>()) {
        let given = if key_there { labels(&format!("k={value}")) } else { BTreeMap::new() };
        let matches = |text| LabelSelector::parse(text).is_ok_and(|selector| selector.matches(&given));
        prop_assert_ne!(matches("k in (a,b)"), matches("k notin (a,b)"));
        prop_assert_ne!(matches("k"), matches("!k"));
    }
}
