//! The flags that say where the store is.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::store::etcd::{EtcdLogin, EtcdOptions, EtcdTls};

/// What the store is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// One file in the state directory, for one hub process
    #[default]
    Embedded,
    /// etcd, for many hub processes
    Etcd,
}

/// Where the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct StoreConfig {
    /// What the store is in
    #[arg(long, env = "STARLING_HUB_STORE", value_enum, default_value_t)]
    pub store: StoreKind,

    /// The client URLs of etcd's members, `http://` or `https://`
    #[arg(
        long,
        env = "STARLING_HUB_ETCD_ENDPOINTS",
        value_name = "URL",
        value_delimiter = ',',
        value_parser = endpoint,
        required_if_eq("store", "etcd")
    )]
    etcd_endpoints: Vec<String>,

    /// What is put before each key in etcd [default: /starling/<fleet>/]
    #[arg(long, env = "STARLING_HUB_ETCD_PREFIX", value_name = "PREFIX", value_parser = prefix)]
    etcd_prefix: Option<String>,

    /// The authority of etcd's certificates, for `https://` endpoints
    #[arg(long, env = "STARLING_HUB_ETCD_CA_FILE", value_name = "FILE")]
    etcd_ca_file: Option<PathBuf>,

    /// The hub's certificate towards etcd; a renewed one is taken with the next connection
    #[arg(
        long,
        env = "STARLING_HUB_ETCD_CERT_FILE",
        value_name = "FILE",
        requires = "etcd_key_file",
        requires = "etcd_ca_file"
    )]
    etcd_cert_file: Option<PathBuf>,

    /// The key of that certificate
    #[arg(long, env = "STARLING_HUB_ETCD_KEY_FILE", value_name = "FILE", requires = "etcd_cert_file")]
    etcd_key_file: Option<PathBuf>,

    /// The user in etcd
    #[arg(long, env = "STARLING_HUB_ETCD_USER", value_name = "NAME", requires = "etcd_password_file")]
    etcd_user: Option<String>,

    /// The file with that user's password
    #[arg(long, env = "STARLING_HUB_ETCD_PASSWORD_FILE", value_name = "FILE", requires = "etcd_user")]
    etcd_password_file: Option<PathBuf>,
}

impl StoreConfig {
    /// Returns what etcd is reached with by the process of a fleet.
    #[must_use]
    pub fn etcd(&self, fleet: &str, process: &str) -> EtcdOptions {
        let certificate = self.etcd_cert_file.clone().zip(self.etcd_key_file.clone());
        let login = self.etcd_user.clone().zip(self.etcd_password_file.clone());
        EtcdOptions {
            endpoints: self.etcd_endpoints.clone(),
            prefix: self.etcd_prefix.clone().unwrap_or_else(|| format!("/starling/{fleet}/")),
            tls: self.etcd_ca_file.clone().map(|authority| EtcdTls { authority, certificate }),
            login: login.map(|(user, password)| EtcdLogin { user, password }),
            process: process.to_owned(),
        }
    }
}

fn endpoint(text: &str) -> Result<String, String> {
    let text = text.trim().trim_end_matches('/');
    let address = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let address = address.ok_or_else(|| format!("{text:?} begins with neither http:// nor https://"))?;
    super::host_and_port(address)?;
    Ok(text.to_owned())
}

fn prefix(text: &str) -> Result<String, String> {
    let is_printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    if text.len() <= 256 && text.ends_with('/') && is_printable {
        return Ok(text.to_owned());
    }
    Err(format!("{text:?} is not printable, up to 256 bytes, with / at its end"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::config::{Config, StoreKind};

    fn parse(line: &str) -> Result<Config, clap::Error> {
        Config::try_parse_from(std::iter::once("starling-hub").chain(line.split_whitespace()))
    }

    #[test]
    fn etcd_is_asked_for_with_its_endpoints() {
        assert_eq!(parse("").unwrap().store_place.store, StoreKind::Embedded);
        let config =
            parse("--fleet lab --store etcd --etcd-endpoints https://a:2379,https://b:2379/ --etcd-ca-file ca")
                .unwrap();
        let options = config.store_place.etcd(&config.fleet, "hub-0");
        assert_eq!((options.prefix.as_str(), options.process.as_str()), ("/starling/lab/", "hub-0"));
        assert_eq!(options.endpoints, ["https://a:2379", "https://b:2379"]);
        assert!(options.tls.is_some_and(|tls| tls.certificate.is_none()) && options.login.is_none());
    }

    #[test]
    fn halves_are_refused() {
        for wrong in [
            "--store etcd",
            "--store postgres",
            "--store etcd --etcd-endpoints a:2379",
            "--store etcd --etcd-endpoints http://a",
            "--etcd-endpoints ftp://a:1",
            "--etcd-prefix starling",
            "--etcd-user u",
            "--etcd-password-file f",
            "--etcd-cert-file c --etcd-ca-file ca",
            "--etcd-cert-file c --etcd-key-file k",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
