use super::*;

#[test]
fn a_token_is_read_back_and_is_hidden() {
    let token = JoinToken::new("my.fleet", [7; 32]);
    let again = JoinToken::parse(&format!(" {}\n", token.reveal())).expect("a token");
    assert_eq!((&again, again.hash(), again.fleet()), (&token, token.hash(), "my.fleet"));
    assert!(!format!("{token:?}").contains("Bwc"), "the secret is not printed");
    assert_ne!(token.hash(), JoinToken::new("other", [7; 32]).hash());
}

#[test]
fn other_text_is_no_token() {
    for text in ["", "st1.", "st1.demo", "st1.demo.short", "st2.demo.AAAA", "AAAA"] {
        assert_eq!(JoinToken::parse(text), Err(NotAToken), "{text:?}");
    }
}

#[test]
fn reasons_have_names_of_their_own() {
    let names: std::collections::BTreeSet<_> = CredentialRefusal::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(names.len(), CredentialRefusal::ALL.len());
}
