//! Finding the hub, trusting it, being trusted by it; contexts.

use std::sync::atomic::Ordering;

use crate::support::{Hub, foreign_authority};

#[test]
fn each_way_of_not_reaching_the_hub_is_told_apart() {
    let hub = Hub::start();
    hub.run("status --config none.yaml").fails(2, "starling config import <state>/admin.yaml");
    hub.run("status --server 127.0.0.1:1").fails(5, "cannot connect to the hub at 127.0.0.1:1");
    hub.run("status --context other").fails(4, "there are: demo");
    hub.write("wrong.token", "another");
    hub.run("status --token-file wrong.token").fails(5, "the token is not known");
    hub.write("other.pem", &foreign_authority());
    hub.run("status --ca other.pem").fails(5, "is not to be trusted");
    hub.write("empty.pem", "nothing");
    hub.run("status --ca empty.pem").fails(2, "hold no certificate");
    hub.fake.silent.store(true, Ordering::Relaxed);
    hub.run("status --timeout 300ms").fails(5, "within 300ms");
}

#[test]
fn the_environment_is_enough() {
    let hub = Hub::start();
    let ca = hub.run("config view --raw").stdout;
    let view: serde_json::Value = serde_saphyr::from_str(&ca).unwrap();
    hub.write("ca.pem", view["contexts"][0]["ca-pem"].as_str().unwrap());
    let output = hub
        .command("status")
        .env("STARLING_CONFIG", "none.yaml")
        .env("STARLING_SERVER", hub.address.to_string())
        .env("STARLING_TOKEN_FILE", "admin.token")
        .env("STARLING_CA", "ca.pem")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn contexts_are_managed_as_kubectl_does() {
    let hub = Hub::start();
    let own = "--config own.yaml";
    assert_eq!(hub.run(&format!("config import admin.yaml --name here {own}")).code, 0);
    assert_eq!(hub.run(&format!("status {own}")).code, 0);
    assert_eq!(hub.run(&format!("config set-context there --server hub.example:1 {own}")).code, 0);
    assert_eq!(hub.run(&format!("config get-contexts -o name {own}")).stdout, "here\nthere\n");
    let table = hub.run(&format!("config get-contexts {own}")).stdout;
    assert!(table.lines().nth(1).unwrap().starts_with("*         here "), "{table}");
    assert_eq!(hub.run(&format!("config use-context there {own}")).code, 0);
    assert_eq!(hub.run(&format!("config current-context {own}")).stdout, "there\n");
    hub.run(&format!("config use-context nowhere {own}")).fails(4, "there are: here, there");
    let view = hub.run(&format!("config view {own}")).stdout;
    assert!(view.contains("DATA+OMITTED") && !view.contains("BEGIN"), "{view}");
    assert_eq!(hub.run(&format!("config delete-context there {own}")).code, 0);
    hub.run(&format!("config current-context {own}")).fails(4, "use-context");
    hub.run(&format!("config set-context new {own}")).fails(2, "names no server");
}

#[test]
fn help_documents_the_exit_codes_and_needs_no_hub() {
    let hub = Hub::start();
    let help = hub.run("--help");
    assert_eq!(help.code, 0);
    assert!(help.stdout.contains("6  the fleet holds"), "{}", help.stdout);
    assert_eq!(hub.run("version --client --config none.yaml").code, 0);
    assert!(hub.run("version").stdout.contains("hub      0.1.0"));
    for shell in ["bash", "zsh", "fish", "powershell"] {
        assert!(hub.run(&format!("completion {shell}")).stdout.contains("starling"), "{shell}");
    }
    hub.run("get").fails(2, "Usage");
}
