//! Join tokens, the forms in which they reach a cluster, and the program as kubectl's plugin.

use std::os::unix::fs::symlink;
use std::process::Command;
use std::sync::atomic::Ordering;

use crate::support::Hub;

#[test]
fn a_token_comes_with_what_is_done_with_it() {
    let hub = Hub::start();
    let line = "create token -w retail --label env=prod --uses 50 --ttl 24h --description shops";
    let text = hub.run(line);
    assert_eq!(text.code, 0, "{}", text.stderr);
    assert!(text.stdout.contains("50 clusters may join retail with labels env=prod"), "{}", text.stdout);
    assert!(text.stdout.contains("\n  a-token-of-retail\n"), "{}", text.stdout);
    assert!(text.stdout.contains("--set-string \"join.clusterName=${CLUSTER_NAME}\""), "{}", text.stdout);
    let asked = hub.fake.changed();
    for part in ["workspace: \"retail\"", "uses: 50", "token_seconds: 86400", "description: \"shops\""] {
        assert!(asked.contains(part), "{part} is not in {asked}");
    }
    let document = hub.json(&format!("{line} -o json --cluster-name edge-7"));
    assert_eq!(document["kind"], "CreatedJoinToken");
    assert_eq!(
        (document["workspace"].as_str(), document["token"].as_str()),
        (Some("retail"), Some("a-token-of-retail"))
    );
    assert!(document["helm"].as_str().unwrap().contains("clusterName: \"edge-7\""), "{document}");
    assert!(document["manifest"].as_str().unwrap().contains("edge-7"), "{document}");
    let manifest = hub.run(&format!("{line} -o yaml"));
    assert!(manifest.stdout.contains("\"${CLUSTER_NAME}\""), "{}", manifest.stdout);
    assert!(manifest.stderr.contains("50 clusters may join retail"), "{}", manifest.stderr);
    hub.run("create token -w retail --uses 0").fails(2, "0 is not in 1..");
}

#[test]
fn tokens_are_listed_without_their_secrets_and_voided_by_id() {
    let hub = Hub::start();
    let table = hub.run("get tokens").stdout;
    assert!(table.contains("cdcdcdcd-cdcd-cdcd-cdcd-cdcdcdcdcdcd   retail      7/50"), "{table}");
    let list = hub.json("get tokens -o json");
    assert_eq!((list["kind"].as_str(), list["items"][0]["createdBy"].as_str()), (Some("JoinTokenList"), Some("jane")));
    let names = hub.run("get tokens -o name").stdout;
    let ran = hub.run(&format!("delete {}", names.trim()));
    assert!(ran.stdout.contains("is void; 7 clusters joined with it and stay"), "{}{}", ran.stdout, ran.stderr);
    assert!(hub.fake.changed().contains("RevokeJoinTokenRequest"), "{}", hub.fake.changed());
    hub.run("delete token ffff").fails(4, "there is no token");
    hub.run("delete token cdcd --approve 1").fails(2, "by its id alone");
}

#[test]
fn a_missing_permission_is_no_missing_hub() {
    let hub = Hub::start();
    hub.fake.denies.store(true, Ordering::Relaxed);
    let denied = hub.run("create token -w retail");
    denied.fails(
        1,
        "jane may not create jointokens in namespace retail; the ClusterRole starling-workspace-admin allows it",
    );
    assert!(denied.stderr.contains("starling whoami"), "{}", denied.stderr);
}

#[test]
fn an_adoption_is_a_helm_command_too() {
    let hub = Hub::start();
    let ran = hub.run("adopt cluster edge-9 -w retail -o helm --chart ./agent --image registry:5000/agent:1");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.starts_with("helm upgrade --install starling-agent ./agent \\\n"), "{}", ran.stdout);
    let values = ran.stdout.split_once("<<'STARLING'\n").unwrap().1.strip_suffix("STARLING\n").unwrap();
    let values: serde_json::Value = serde_saphyr::from_str(values).unwrap();
    assert_eq!(values["join"]["token"], "a-one-time-token");
    assert_eq!(
        (values["image"]["repository"].as_str(), values["image"]["tag"].as_str()),
        (Some("registry:5000/agent"), Some("1"))
    );
    assert!(hub.json("adopt cluster edge-9 -w retail -o json")["helm"].as_str().unwrap().starts_with("helm "));
}

#[test]
fn kubectl_finds_the_program_and_its_completion() {
    let hub = Hub::start();
    let plugin = hub.scratch.path().join("kubectl-starling");
    symlink(env!("CARGO_BIN_EXE_starling"), &plugin).unwrap();
    let run = |program: &str, words: &[&str]| {
        let output = Command::new(hub.scratch.path().join(program))
            .args(words)
            .env_clear()
            .env("PATH", hub.scratch.path())
            .env("STARLING_CONFIG", hub.scratch.path().join("admin.yaml"))
            .output()
            .unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (help, _) = run("kubectl-starling", &["adopt", "--help"]);
    assert!(
        help.contains("Usage: kubectl starling adopt") && help.contains("  kubectl starling adopt cluster"),
        "{help}"
    );
    let (_, error) = run("kubectl-starling", &["describe", "cluster", "edge-9"]);
    assert!(error.contains("`kubectl starling get clusters` lists them"), "{error}");
    let script = hub.run("completion kubectl").stdout;
    let file = hub.write("kubectl_complete-starling", &script);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(file, mode).unwrap();
    let (candidates, error) = run("kubectl_complete-starling", &["get", "cl"]);
    assert_eq!(candidates, "clusters\n:4\n", "{error}");
}
