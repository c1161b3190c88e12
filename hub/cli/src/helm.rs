//! The command that installs the agent with Helm: its chart, and the values that this hub gives it.
//!
//! The values go through standard input rather than the command line, so that no list of processes shows the token.

use crate::manifest::{self, Parameters};

/// Where the chart of an agent as old as this program is published.
const DEFAULT_CHART: &str = "oci://ghcr.io/starling-dev/charts/starling-agent";

/// Ends the values; no value holds it alone on a line.
const END: &str = "STARLING";

/// Returns the command, ready for a shell; without a chart it takes the published one.
pub(crate) fn command(parameters: &Parameters, chart: Option<&str>) -> String {
    let chart = match chart {
        Some(chart) => quoted(chart),
        None => format!("{DEFAULT_CHART} --version {}", env!("CARGO_PKG_VERSION")),
    };
    let mut values = String::new();
    let mut section = |name: &str, fields: &[(&str, &str)]| {
        let given: Vec<_> = fields.iter().filter(|(_, value)| !value.is_empty()).collect();
        if given.is_empty() {
            return;
        }
        values.push_str(&format!("{name}:\n"));
        for (field, value) in given {
            match value.trim_end().contains('\n') {
                true => {
                    let block: String =
                        value.trim_end().lines().map(|line| format!("    {}\n", line.trim_end())).collect();
                    values.push_str(&format!("  {field}: |\n{block}"));
                }
                // A JSON string is one of YAML too.
                false => values.push_str(&format!("  {field}: {}\n", serde_json::Value::from(value.trim_end()))),
            }
        }
    };
    section("hub", &[("address", &parameters.hub), ("fleet", &parameters.fleet), ("trustPem", &parameters.trust_pem)]);
    let variable = manifest::CLUSTER_NAME_VARIABLE;
    let is_variable = parameters.cluster_name == variable;
    let cluster_name = if is_variable { "" } else { &parameters.cluster_name };
    section("join", &[("token", &parameters.token), ("clusterName", cluster_name)]);
    if parameters.image != manifest::DEFAULT_IMAGE {
        let (repository, tag, digest) = image_parts(&parameters.image);
        section("image", &[("repository", repository), ("tag", tag), ("digest", digest)]);
    }
    let set = if is_variable { format!("  --set-string \"join.clusterName={variable}\" \\\n") } else { String::new() };
    format!(
        "helm upgrade --install starling-agent {chart} \\\n  --namespace starling-system --create-namespace \\\n{set}  \
         --values - <<'{END}'\n{values}{END}\n"
    )
}

/// Takes a reference apart into repository, tag and digest, each empty where it is not given.
fn image_parts(image: &str) -> (&str, &str, &str) {
    let (name, digest) = image.split_once('@').unwrap_or((image, ""));
    match name.rsplit_once(':') {
        // A colon before a slash belongs to the registry's port.
        Some((repository, tag)) if !tag.contains('/') => (repository, tag, digest),
        _ => (name, "", digest),
    }
}

/// Returns a word for a shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@-+=".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters() -> Parameters {
        Parameters {
            token: "st-1".into(),
            trust_pem: "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".into(),
            hub: "hub.example:8443".into(),
            fleet: "demo".into(),
            image: manifest::DEFAULT_IMAGE.into(),
            cluster_name: String::new(),
        }
    }

    fn values(command: &str) -> serde_json::Value {
        let (_, rest) = command.split_once("<<'STARLING'\n").unwrap();
        serde_saphyr::from_str(rest.strip_suffix("STARLING\n").unwrap()).unwrap()
    }

    #[test]
    fn the_values_are_those_of_the_chart() {
        let command = command(&parameters(), None);
        assert!(command.starts_with("helm upgrade --install starling-agent oci://ghcr.io/"), "{command}");
        let values = values(&command);
        assert_eq!(values["hub"]["address"], "hub.example:8443");
        assert_eq!(values["hub"]["trustPem"], parameters().trust_pem);
        assert_eq!(values["join"], serde_json::json!({"token": "st-1"}));
        assert!(values["image"].is_null());
        let chart = include_str!("../../../charts/starling-agent/values.yaml");
        let chart: serde_json::Value = serde_saphyr::from_str(chart).unwrap();
        for (section, field) in [
            ("hub", "address"),
            ("hub", "fleet"),
            ("hub", "trustPem"),
            ("join", "token"),
            ("join", "clusterName"),
            ("image", "repository"),
            ("image", "tag"),
            ("image", "digest"),
        ] {
            assert!(chart[section].get(field).is_some(), "the chart has no {section}.{field}");
        }
    }

    #[test]
    fn names_and_images_are_given_where_they_are_known() {
        let image = "registry.example:5000/agent:1.2@sha256:01".to_owned();
        let named = Parameters { cluster_name: "edge-1".into(), image, ..parameters() };
        let text = command(&named, Some("./my charts/agent"));
        assert!(text.contains("starling-agent './my charts/agent' \\\n"), "{text}");
        let values = values(&text);
        assert_eq!(values["join"]["clusterName"], "edge-1");
        assert_eq!(
            values["image"],
            serde_json::json!({"repository": "registry.example:5000/agent", "tag": "1.2", "digest": "sha256:01"})
        );
        let variable = Parameters { cluster_name: manifest::CLUSTER_NAME_VARIABLE.into(), ..parameters() };
        assert!(command(&variable, None).contains("--set-string \"join.clusterName=${CLUSTER_NAME}\""));
        assert_eq!(image_parts("localhost:5000/agent"), ("localhost:5000/agent", "", ""));
    }
}
