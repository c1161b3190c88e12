//! The manifest that brings the agent into a cluster: the agent's own template with its placeholders filled in.
//!
//! The template stays valid wherever a placeholder stands: alone on a line of a block scalar (each line of a longer
//! text is indented like the placeholder), inside double quotes (the text is escaped), or in a plain scalar (the text
//! must be harmless there).

use starling_model::DigestWriter;

use crate::failure::Failure;

/// The agent's manifest, with `{{NAME}}` where something is filled in.
const TEMPLATE: &str = include_str!("../../../agent/manifest/agent.yaml");

/// The placeholder of the cluster's own name.
const CLUSTER_NAME: &str = "{{CLUSTER_NAME}}";

/// The image of an agent as old as this program.
pub(crate) const DEFAULT_IMAGE: &str = concat!("ghcr.io/starling-dev/starling-agent:", env!("CARGO_PKG_VERSION"));

/// What stands for a cluster's name that is not known yet; envsubst, Flux and Cluster API's tools fill it in.
pub(crate) const CLUSTER_NAME_VARIABLE: &str = "${CLUSTER_NAME}";

/// What is filled in.
#[derive(Clone, Debug)]
pub(crate) struct Parameters {
    /// The one-time token.
    pub(crate) token: String,
    /// The authorities that the agent pins, in PEM.
    pub(crate) trust_pem: String,
    /// The address that the agent dials.
    pub(crate) hub: String,
    /// The fleet's name.
    pub(crate) fleet: String,
    /// The agent's image.
    pub(crate) image: String,
    /// The name under which a cluster joins with a workspace's token; empty where the token names the cluster.
    pub(crate) cluster_name: String,
}

/// Fills the agent's manifest.
///
/// # Errors
/// When something that is filled in cannot stand in a document.
pub(crate) fn render(parameters: &Parameters) -> Result<String, Failure> {
    fill(TEMPLATE, parameters)
}

fn fill(template: &str, parameters: &Parameters) -> Result<String, Failure> {
    let mut join = DigestWriter::new("join");
    join.field(parameters.token.as_bytes()).field(parameters.trust_pem.as_bytes());
    let join = join.finish().to_string();
    let values = [
        ("{{TOKEN}}", parameters.token.as_str()),
        ("{{TRUST_PEM}}", parameters.trust_pem.as_str()),
        ("{{HUB}}", parameters.hub.as_str()),
        ("{{FLEET}}", parameters.fleet.as_str()),
        ("{{IMAGE}}", parameters.image.as_str()),
        ("{{CLUSTER_NAME}}", parameters.cluster_name.as_str()),
        ("{{JOIN_DIGEST}}", join.as_str()),
    ];
    let mut filled = String::from(
        "# Made by `starling`. It holds a token that lets a cluster in: pass it on as you would a password.\n",
    );
    // The template begins with words about its placeholders.
    for line in template.lines().skip_while(|line| line.starts_with('#')) {
        if line.trim_start().starts_with('#') {
            filled.push_str(line);
            filled.push('\n');
            continue;
        }
        // An argument with the name is left out where the token knows it.
        if parameters.cluster_name.is_empty()
            && line.contains(CLUSTER_NAME)
            && !line.contains(&format!("\"{CLUSTER_NAME}\""))
        {
            continue;
        }
        let mut line = line.to_owned();
        for (placeholder, value) in values {
            if line.contains(placeholder) {
                line = fill_line(&line, placeholder, value)?;
            }
        }
        filled.push_str(&line);
        filled.push('\n');
    }
    Ok(filled)
}

fn fill_line(line: &str, placeholder: &str, value: &str) -> Result<String, Failure> {
    let value = value.trim_end();
    if line.trim() == placeholder {
        let indent = &line[..line.len() - line.trim_start().len()];
        let lines: Vec<String> = value.lines().map(|part| format!("{indent}{}", part.trim_end())).collect();
        return Ok(lines.join("\n"));
    }
    let quoted = format!("\"{placeholder}\"");
    if line.contains(&quoted) {
        let text = serde_json::Value::from(value).to_string();
        return Ok(line.replace(&quoted, &text));
    }
    // Inside a longer scalar, quoted or not, nothing may be needed that would have to be escaped.
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@-+=~[]".contains(&byte);
    let variable = value == CLUSTER_NAME_VARIABLE;
    if value.is_empty() || !(variable || value.bytes().all(harmless)) {
        let name = placeholder.trim_matches(['{', '}']).to_lowercase();
        return Err(Failure::usage(format!("{value:?} cannot stand in a manifest as the {name}")));
    }
    Ok(line.replace(placeholder, value))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const PEM: &str = "-----BEGIN CERTIFICATE-----\nMIIBfz+/==\n-----END CERTIFICATE-----\n";

    fn parameters() -> Parameters {
        Parameters {
            token: "st-0123abcd.EFGH_-".into(),
            trust_pem: format!("{PEM}{PEM}"),
            hub: "[2001:db8::1]:8443".into(),
            fleet: "demo".into(),
            image: "registry.example:5000/agent@sha256:0123".into(),
            cluster_name: String::new(),
        }
    }

    fn documents(text: &str) -> Vec<Value> {
        serde_saphyr::from_multiple(text).expect("the manifest is YAML")
    }

    #[test]
    fn a_certificate_keeps_its_lines_wherever_it_stands() {
        let template = "block:\n  - data:\n      ca: |\n        {{TRUST_PEM}}\n      quoted: \"{{TRUST_PEM}}\"\n";
        let text = fill(template, &parameters()).unwrap();
        let documents = documents(&text);
        assert_eq!(documents[0]["block"][0]["data"]["ca"], format!("{PEM}{PEM}"));
        assert_eq!(documents[0]["block"][0]["data"]["quoted"], format!("{PEM}{PEM}").trim_end());
    }

    #[test]
    fn short_values_stand_in_longer_scalars() {
        let text = fill("args:\n- --hub={{HUB}}\n- '--fleet={{FLEET}}'\nimage: {{IMAGE}}\n", &parameters()).unwrap();
        let documents = documents(&text);
        assert_eq!(documents[0]["args"][0], "--hub=[2001:db8::1]:8443");
        assert_eq!(documents[0]["args"][1], "--fleet=demo");
        assert_eq!(documents[0]["image"], "registry.example:5000/agent@sha256:0123");
    }

    #[test]
    fn a_clusters_name_stands_where_it_is_given() {
        let template = "args:\n- --fleet={{FLEET}}\n- --cluster-name={{CLUSTER_NAME}}\nvalue: \"{{CLUSTER_NAME}}\"\n";
        let nameless = documents(&fill(template, &parameters()).unwrap());
        assert_eq!(nameless[0], serde_json::json!({"args": ["--fleet=demo"], "value": ""}));
        for name in ["edge-1", CLUSTER_NAME_VARIABLE] {
            let named = Parameters { cluster_name: name.into(), ..parameters() };
            let named = documents(&fill(template, &named).unwrap());
            assert_eq!(named[0]["args"][1], format!("--cluster-name={name}"));
            assert_eq!(named[0]["value"], name);
        }
    }

    #[test]
    fn what_would_break_the_document_is_refused() {
        for image in ["a b", "x\"y", "x'y", "a\nkind: Secret", "x#y", "{{TOKEN}}", ""] {
            let parameters = Parameters { image: image.into(), ..parameters() };
            assert!(fill("image: {{IMAGE}}\n", &parameters).is_err(), "{image:?}");
        }
    }

    #[test]
    fn the_agents_manifest_is_whole() {
        let parameters = parameters();
        let text = render(&parameters).unwrap();
        assert!(!text.lines().any(|line| !line.trim_start().starts_with('#') && line.contains("{{")), "{text}");
        for value in [&parameters.token, &parameters.hub, &parameters.fleet, &parameters.image] {
            assert!(text.contains(value.as_str()), "{value} is missing");
        }
        let documents = documents(&text);
        assert!(documents.len() > 3);
        for document in &documents {
            for field in ["apiVersion", "kind", "metadata"] {
                assert!(!document[field].is_null(), "{field} is missing in {document}");
            }
        }
        let restarts = |parameters: &Parameters| {
            let text = render(parameters).unwrap();
            text.lines().find(|line| line.contains("join-digest")).unwrap().to_owned()
        };
        assert_ne!(restarts(&parameters), restarts(&Parameters { trust_pem: PEM.into(), ..self::parameters() }));
        let named = render(&Parameters { cluster_name: "edge-1".into(), ..self::parameters() }).unwrap();
        assert!(named.contains("value: \"edge-1\""), "{named}");
        let mut certificates = 0;
        count_certificates(&Value::from(documents), &mut certificates);
        assert_eq!(certificates, 2);
    }

    fn count_certificates(value: &Value, count: &mut usize) {
        match value {
            Value::String(text) => *count += text.matches("-----BEGIN CERTIFICATE-----\nMIIB").count(),
            Value::Array(items) => items.iter().for_each(|item| count_certificates(item, count)),
            Value::Object(fields) => fields.values().for_each(|field| count_certificates(field, count)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
}
