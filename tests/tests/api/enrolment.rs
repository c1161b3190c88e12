//! Tokens: who may join, and what everybody else is told.

use anyhow::{Context, Result, ensure};
use rcgen::KeyPair;
use starling_tests::steps::wait;

use crate::bed::{Bed, on_a_hub};
use crate::client;
use crate::documents::WORKSPACE;

#[test]
fn tokens_are_taken_once_and_refused_with_their_reason() -> Result<()> {
    on_a_hub("enrolment-tokens", &[], |bed| {
        let adoption = bed.adopt("edge", &["--label", "env=test"])?;
        ensure!(adoption.created, "{adoption:?}");
        let again = bed.adopt("edge", &[])?;
        ensure!(
            !again.created && again.cluster_id == adoption.cluster_id && again.token != adoption.token,
            "{again:?}"
        );
        let (trust, token) = (adoption.trust_pem.as_str(), adoption.token.as_str());

        let key = KeyPair::generate()?;
        let joined = join(bed, trust, token, &key)?.context("the token is good")?;
        ensure!(joined.cluster_id == adoption.cluster_id && joined.fleet == "api", "{joined:?}");
        let repeated = join(bed, trust, token, &key)?.context("the same key may ask again: its answer may be lost")?;
        ensure!(repeated.cluster_id == adoption.cluster_id, "{repeated:?}");
        refused(bed, trust, token, "token-used", "the token was used already")?;

        let unknown = tampered(token);
        refused(bed, trust, &unknown, "token-unknown", "the token is not known here")?;
        refused(bed, trust, "st1.", "token-malformed", "copied whole")?;
        let foreign = token.replacen("st1.api.", "st1.elsewhere.", 1);
        refused(bed, trust, &foreign, "token-foreign", "of another fleet")?;

        let short = bed.adopt("edge", &["--token-ttl", "1s"])?;
        std::thread::sleep(std::time::Duration::from_millis(1500));
        refused(bed, trust, &short.token, "token-expired", "the token has expired")?;

        // Nobody was locked out by all that.
        join(bed, trust, &again.token, &KeyPair::generate()?)?.context("the other token is still good")?;
        Ok(())
    })
}

#[test]
fn a_revoked_cluster_is_refused_until_it_is_taken_back() -> Result<()> {
    on_a_hub("enrolment-revoked", &[], |bed| {
        let machine = crate::bed::cluster("edge");
        let adoption = bed.adopt("edge", &[])?;
        let _agent = bed.run_agent(&machine, &adoption, "identity");
        bed.wait_live("edge")?;
        let file = "cluster/retail/edge.yaml";
        let path = bed.hub.options().directory.join(file);
        let text = std::fs::read_to_string(&path).context("read the document that the adoption wrote")?;
        ensure!(text.contains("revoked: false"), "{text}");
        bed.write(file, &text.replace("revoked: false", "revoked: true"))?;
        wait("the cluster to be shown as revoked", || {
            let edge = bed.view("edge")?;
            ensure!(edge.connection == "revoked", "{edge:?}");
            Ok(())
        })?;
        refused(bed, &adoption.trust_pem, &adoption.token, "token-used", "the token was used already")?;
        let printed = bed.hub.starling(&["adopt", "cluster", "edge", "--workspace", WORKSPACE])?;
        ensure!(printed.code == 1 && printed.stderr.contains("revoked: true"), "{printed:?}");
        bed.write(file, &text)?;
        wait("the cluster to be taken back", || {
            let edge = bed.view("edge")?;
            ensure!(edge.connection != "revoked", "{edge:?}");
            Ok(())
        })?;
        let again = bed.adopt("edge", &[])?;
        join(bed, &adoption.trust_pem, &again.token, &KeyPair::generate()?)?.context("it is taken back")?;
        Ok(())
    })
}

fn join(
    bed: &Bed,
    trust_pem: &str,
    token: &str,
    key: &KeyPair,
) -> Result<Result<starling_proto::v1::JoinResponse, tonic::Status>> {
    bed.runtime.block_on(client::join(&bed.hub.address(), trust_pem, token, key))
}

/// Makes sure that a token is refused with a code and words, and counted under its reason.
fn refused(bed: &Bed, trust_pem: &str, token: &str, reason: &str, words: &str) -> Result<()> {
    let metric = format!("starling_join_refused_total{{reason=\"{reason}\"}}");
    let before = bed.metric(&metric)?;
    let status = join(bed, trust_pem, token, &KeyPair::generate()?)?.err().context("the token is taken")?;
    let code = status.metadata().get("starling-error").and_then(|code| code.to_str().ok());
    ensure!(code == Some("credential-refused"), "{status:?}");
    ensure!(status.message().contains(words), "{status:?}");
    ensure!(bed.metric(&metric)? == before + 1, "{metric} counts it");
    Ok(())
}

/// Changes one character of the secret.
fn tampered(token: &str) -> String {
    let (head, secret) = token.split_at(token.len() - 20);
    let other = if secret.starts_with('A') { "B" } else { "A" };
    format!("{head}{other}{}", &secret[1..])
}
