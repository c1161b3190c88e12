//! Join tokens of a workspace: clusters register by themselves, as many as the token says, and everybody else is told why not.

use anyhow::{Context, Result, ensure};
use rcgen::KeyPair;
use serde::Deserialize;
use starling_tests::steps::{expect, wait};
use tokio::task::JoinSet;

use crate::bed::{Bed, cluster, on_a_hub};
use crate::client;
use crate::documents::{WORKSPACE, assignment};

/// What `starling create token -o json` prints, as far as it is looked at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    id: String,
    token: String,
    trust_pem: String,
}

fn create(bed: &Bed, further: &[&str]) -> Result<Created> {
    let create = ["create", "token", "--workspace", WORKSPACE];
    bed.hub.ask_json(&[create.as_slice(), further].concat())
}

#[test]
fn as_many_clusters_join_at_once_as_the_token_lets_in() -> Result<()> {
    const WANT: usize = 40;
    const USES: usize = 25;
    on_a_hub("tokens-parallel", &[], |bed| {
        let created = create(bed, &["--uses", &USES.to_string(), "--label", "env=prod"])?;
        let joined = bed.runtime.block_on(async {
            let mut joins = JoinSet::new();
            for number in 0..WANT {
                let (address, trust) = (bed.hub.address(), created.trust_pem.clone());
                let token = created.token.clone();
                joins.spawn(async move {
                    let (fingerprint, name) = (format!("kube-system-{number}"), format!("edge-{number}"));
                    let key = KeyPair::generate()?;
                    // Each twice: an answer may be lost.
                    client::join_as(&address, &trust, &token, &key, (&fingerprint, &name)).await?.ok();
                    let answer = client::join_as(&address, &trust, &token, &key, (&fingerprint, &name)).await?;
                    anyhow::Ok((name, answer))
                });
            }
            joins.join_all().await.into_iter().collect::<Result<Vec<_>>>()
        })?;
        let (inside, outside): (Vec<_>, Vec<_>) = joined.into_iter().partition(|(_, answer)| answer.is_ok());
        ensure!((inside.len(), outside.len()) == (USES, WANT - USES), "{} are in", inside.len());
        for (name, refused) in outside {
            let status = refused.err().context("it was refused")?;
            ensure!(reason(&status) == "token-exhausted", "{name}: {status:?}");
        }
        ensure!(bed.metric("starling_join_refused_total{reason=\"token-exhausted\"}")? > 0, "it is counted");
        for (name, _) in inside {
            let path = bed.hub.options().directory.join(format!("cluster/{WORKSPACE}/{name}.yaml"));
            let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            ensure!(text.contains("env: prod") && text.contains(&created.id), "{text}");
        }
        expect(&bed.hub, &["get", "tokens"], 0, &[WORKSPACE, "env=prod", "25"])?;
        // All of it outlives the process.
        bed.hub.stop(std::time::Duration::from_secs(30))?;
        bed.hub.restart()?;
        wait("the clusters to be there", || {
            let clusters: Vec<starling_tests::views::Cluster> = bed.list(&[])?;
            let named = clusters.iter().filter(|cluster| !cluster.name.is_empty()).count();
            ensure!(named == USES && clusters.iter().all(|cluster| cluster.problem.is_empty()), "{clusters:?}");
            Ok(())
        })
    })
}

#[test]
fn each_wrong_join_is_refused_with_its_reason() -> Result<()> {
    on_a_hub("tokens-wrong", &[], |bed| {
        let created = create(bed, &["--uses", "5"])?;
        let (trust, token) = (created.trust_pem.as_str(), created.token.as_str());
        join(bed, trust, token, ("kube-system-1", "edge-1"))?.map_err(|status| anyhow::anyhow!("{status:?}"))?;
        for (fingerprint, name, word) in [
            ("kube-system-2", "", "name-invalid"),
            ("kube-system-2", "Not-a-label", "name-invalid"),
            ("kube-system-2", "edge-1", "name-taken"),
            ("kube-system-1", "edge-2", "cluster-known"),
        ] {
            let status = join(bed, trust, token, (fingerprint, name))?.err().context("it is let in")?;
            ensure!(reason(&status) == word && !status.message().is_empty(), "{word}: {status:?}");
            ensure!(bed.metric(&format!("starling_join_refused_total{{reason=\"{word}\"}}"))? > 0, "{word} is counted");
        }
        let foreign = token.replacen("st1.api.", "st1.elsewhere.", 1);
        told(bed, trust, &foreign, "token-foreign")?;
        let short = create(bed, &["--ttl", "1s"])?;
        std::thread::sleep(std::time::Duration::from_millis(1500));
        told(bed, trust, &short.token, "token-expired")?;
        expect(&bed.hub, &["delete", "token", &created.id], 0, &["is void", "1 cluster joined"])?;
        told(bed, trust, token, "token-revoked")?;
        expect(&bed.hub, &["create", "token", "--workspace", "nowhere"], 4, &["workspace nowhere does not exist"])?;
        let listed = bed.hub.starling(&["get", "tokens"])?;
        ensure!(!listed.stdout.contains(&created.id[..8]) && !listed.stdout.contains("st1."), "{listed:?}");
        // The token of one cluster reads no name.
        let adoption = bed.adopt("edge-9", &[])?;
        let answer = join(bed, trust, &adoption.token, ("kube-system-9", "another"))?;
        let joined = answer.map_err(|status| anyhow::anyhow!("{status:?}"))?;
        ensure!(joined.cluster_id == adoption.cluster_id, "{joined:?}");
        Ok(())
    })
}

#[test]
fn an_agent_registers_its_cluster_gets_its_addons_and_does_not_come_back_once_detached() -> Result<()> {
    on_a_hub("tokens-agent", &[], |bed| {
        bed.write("base.yaml", &assignment("base", "{matchLabels: {env: prod}}"))?;
        let created = create(bed, &["--uses", "3", "--label", "env=prod"])?;
        let machine = cluster("edge");
        let _agent = bed.run_agent_with(&machine, &created.token, &created.trust_pem, "edge", "identity");
        bed.wait_ready("base", 1)?;
        // The identity is lost, and the agent is installed anew with what the cluster was made with.
        drop(_agent);
        let again = bed.run_agent_with(&machine, &created.token, &created.trust_pem, "edge", "identity-2");
        bed.wait_live("edge")?;
        expect(&bed.hub, &["get", "tokens"], 0, &["1"])?;
        expect(
            &bed.hub,
            &["detach", "cluster", "edge", "--workspace", WORKSPACE, "--wait"],
            0,
            &["has left the fleet"],
        )?;
        // Its agent still runs, and still has the token.
        wait("the agent to be refused", || {
            let refused = bed.metric("starling_join_refused_total{reason=\"cluster-detached\"}")?;
            ensure!(refused > 0, "not yet");
            Ok(())
        })?;
        let clusters: Vec<starling_tests::views::Cluster> = bed.list(&[])?;
        ensure!(clusters.iter().all(|cluster| cluster.name != "edge"), "{clusters:?}");
        drop(again);
        Ok(())
    })
}

fn join(
    bed: &Bed,
    trust_pem: &str,
    token: &str,
    cluster: (&str, &str),
) -> Result<Result<starling_proto::v1::JoinResponse, tonic::Status>> {
    let key = KeyPair::generate()?;
    bed.runtime.block_on(client::join_as(&bed.hub.address(), trust_pem, token, &key, cluster))
}

/// Makes sure that a cluster that is otherwise fine is refused for this reason.
fn told(bed: &Bed, trust_pem: &str, token: &str, word: &str) -> Result<()> {
    let status = join(bed, trust_pem, token, ("kube-system-7", "edge-7"))?.err().context("it is let in")?;
    ensure!(reason(&status) == word, "{word}: {status:?}");
    Ok(())
}

fn reason(status: &tonic::Status) -> &str {
    status.metadata().get("starling-reason").and_then(|reason| reason.to_str().ok()).unwrap_or_default()
}
