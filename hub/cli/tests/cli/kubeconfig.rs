//! Reaching a hub on Kubernetes with nothing but a kubeconfig, in whatever way it proves who somebody is.

use crate::support::{Hub, api};

#[test]
fn a_kubeconfig_is_enough() {
    let hub = Hub::start_on_kubernetes();
    assert_eq!(hub.json("status -o json")["source"], "kubernetes");
    let who = hub.json("whoami -o json");
    assert_eq!((who["kind"].as_str(), who["name"].as_str()), (Some("WhoAmI"), Some("jane")));
    assert_eq!(who["authenticator"], "kubernetes");
    let text = hub.run("whoami").stdout;
    assert!(text.contains("Name:     jane") && text.contains("RBAC"), "{text}");
    for context in ["filed", "plugged"] {
        assert_eq!(hub.json(&format!("whoami -o json --kube-context {context}"))["name"], "jane", "{context}");
    }
    let runs = std::fs::read_to_string(hub.scratch.path().join("plugin.log")).unwrap();
    assert_eq!(runs, "run\n", "a plugin may open a browser: it runs once");
}

#[test]
fn who_has_no_token_names_a_service_account() {
    let hub = Hub::start_on_kubernetes();
    for context in ["certified", "acting"] {
        hub.run(&format!("whoami --kube-context {context}")).fails(5, "--service-account NAMESPACE/NAME");
        let line = format!("whoami -o json --kube-context {context} --service-account ops/starling");
        assert_eq!(hub.json(&line)["name"], "system:serviceaccount:ops:starling", "{context}");
    }
    let asked = hub.api.changed();
    assert!(asked.starts_with("carol POST /api/v1/namespaces/ops/serviceaccounts/starling/token"), "{asked}");
    assert!(asked.contains("\"audiences\":[\"starling-hub\"]"), "{asked}");
    hub.run("whoami --service-account starling").fails(2, "NAMESPACE/NAME");
    hub.api.forbid("POST");
    let denied = hub.run("whoami --service-account ops/starling");
    denied.fails(1, "no token of ServiceAccount ops/starling: jane may not");
}

#[test]
fn each_way_of_not_finding_the_hub_is_told_apart() {
    let hub = Hub::start_on_kubernetes();
    hub.run("status --kube-context nowhere").fails(4, "there are: jane, filed, plugged");
    hub.run("status --hub-namespace elsewhere").fails(4, "there is no hub in namespace elsewhere of http://");
    hub.run("status --kube-context stale").fails(5, "does not accept the kubeconfig's credentials");
    hub.run("status --kubeconfig none").fails(2, "none cannot be used");
    hub.write("broken", "contexts: [");
    hub.run("status --kubeconfig broken").fails(2, "broken cannot be used");
    let away = std::fs::read_to_string(hub.scratch.path().join("kubeconfig")).unwrap();
    let server = away.split("http://").nth(1).unwrap().split('"').next().unwrap();
    hub.write("away", &away.replace(server, "127.0.0.1:1"));
    hub.run("status --kubeconfig away --timeout 2s").fails(5, "cannot reach the API server");
    hub.api.forbid("GET");
    hub.run("status").fails(1, "cannot find the hub through context \"jane\"");
}

#[test]
fn an_address_of_ones_own_is_checked_by_the_published_name() {
    let hub = Hub::start_on_kubernetes();
    let port = hub.address.port();
    // The certificate names 127.0.0.1 alone, as it would name a Service behind a port that is forwarded.
    let ran = hub.run(&format!("status --server localhost:{port}"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    hub.write("other.pem", &crate::support::foreign_authority());
    hub.run("status --ca other.pem").fails(5, "is not to be trusted");
    let shown = hub.run(&format!("config --server localhost:{port}")).stdout;
    assert!(shown.contains(&format!("Hub:         localhost:{port}\n             from --server")), "{shown}");
    assert!(shown.contains("1 certificate(s)\n             from published in namespace starling-system"), "{shown}");
    assert!(shown.contains("from user \"jane\" of context \"jane\" of "), "{shown}");
    assert!(!shown.contains(api::USER_TOKEN), "{shown}");
    let document = hub.json("config -o json");
    assert_eq!(
        (document["kind"].as_str(), document["server"]["value"].as_str()),
        (Some("Target"), Some(&*hub.address.to_string()))
    );
}

#[test]
fn contexts_name_a_cluster() {
    let hub = Hub::start_on_kubernetes();
    let own = "--config own.yaml";
    let set = format!("config set-context ops --kube-context certified --service-account ops/starling {own}");
    assert_eq!(hub.run(&set).code, 0);
    let table = hub.run(&format!("config get-contexts {own}")).stdout;
    assert!(
        table.contains("(published in its cluster)   kubeconfig context certified as ServiceAccount ops/starling"),
        "{table}"
    );
    let who = hub.json(&format!("whoami -o json {own}"));
    assert_eq!(who["name"], "system:serviceaccount:ops:starling");
    // An option is stronger, and a named cluster passes the current context by.
    let other = hub.json(&format!("whoami -o json {own} --kube-context jane"));
    assert_eq!(other["name"], "jane");
    hub.run(&format!("config set-context none {own}")).fails(2, "names no server and no kubeconfig");
    hub.run(&format!("config set-context bad --service-account x {own}")).fails(2, "NAMESPACE/NAME");
}
