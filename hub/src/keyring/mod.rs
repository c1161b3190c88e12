//! The hub's secrets, outside the store: `<state>/keys/`.
//!
//! | file | what it is | when it is lost |
//! |---|---|---|
//! | `ca.crt`, `ca.key` | the fleet's certificate authority | no agent trusts the hub any more |
//! | `fleet.key` | the key of fences | no agent's fence can be told from an invented one |
//! | `admin.token` | the administrator's token | nobody can call the admin API |
//! | `server.crt`, `server.key` | the hub's own certificate | it is issued again |
//! | `mark.json` | the high-water mark of positions ([`MarkFile`]) | the fleet holds until `starling store recover` |
//!
//! Owns making, reading and renewing them, and issuing certificates. Does not own TLS, nor who may have a certificate.

mod authority;
mod certificate;
mod context;
mod files;
mod mark;
mod server;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::KeyPair;
use starling_model::{ClusterId, FleetKey};

pub use self::authority::{Authority, AuthorityError, CLUSTER_LIFETIME, Issued, SERVER_LIFETIME, ServerNames};
pub use self::certificate::{
    CertificateError, CertificateFacts, RequestError, SigningRequest, is_signed_by, key_fingerprint,
};
pub use self::context::write_admin_context;
pub use self::mark::MarkFile;
use crate::ports::{Clock, Entropy, EntropyExt};

/// What has to be there together; in the order of the table above.
const ESSENTIAL: [(&str, &str); 4] = [
    ("ca.crt", "the fleet's certificate authority, which every agent has pinned"),
    ("ca.key", "the key of the fleet's certificate authority, without which no certificate can be issued"),
    ("fleet.key", "the key of fences, without which no agent's fence can be verified"),
    ("admin.token", "the administrator's token, without which nobody can call the admin API"),
];

/// The secrets of a fleet as text, for making them anew and for simulations that fix them.
#[derive(Clone)]
pub struct KeyMaterial {
    /// The authority's certificate, PEM.
    pub ca_crt: String,
    /// The authority's key, PKCS #8 PEM.
    pub ca_key: String,
    /// The key of fences.
    pub fleet_key: [u8; 32],
    /// The administrator's token.
    pub admin_token: String,
    /// The hub's certificate and key as PEM, if they are given rather than issued.
    pub server: Option<(String, String)>,
}

/// The hub's own certificate with its key, as PEM.
#[derive(Clone)]
pub struct ServerIdentity {
    /// The certificate.
    pub certificate_pem: String,
    /// The key, PKCS #8.
    pub key_pem: String,
}

/// The secrets of a fleet, ready for use.
pub struct Keyring {
    fleet: String,
    authority: Authority,
    fleet_key: FleetKey,
    admin_token: String,
    names: ServerNames,
    server: Mutex<ServerIdentity>,
    mark: MarkFile,
    directory: Option<PathBuf>,
    created: bool,
}

/// A keys directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Some of what belongs together is missing.
    #[error(
        "{}: {missing} is missing, and others of the fleet's secrets are there. It is {meaning}. Restore it from a backup; \
         to begin a new fleet instead, move the whole state directory away and adopt every cluster again",
        .directory.display()
    )]
    PartlyLost {
        /// The directory.
        directory: PathBuf,
        /// The first missing file.
        missing: &'static str,
        /// What that file is.
        meaning: &'static str,
    },
    /// All of it is missing, and the fleet's store is there.
    #[error(
        "{}: the fleet's secrets are missing, and its store is there. Without them no agent trusts this hub, and no fence \
         can be verified. Restore the directory from a backup; to begin a new fleet instead, move the whole state directory \
         away and adopt every cluster again",
        .0.display()
    )]
    Lost(PathBuf),
    /// A file cannot be read or written.
    #[error("{}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {problem}", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The authority cannot be used, or cannot issue.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl KeyMaterial {
    /// Makes the secrets of a new fleet.
    ///
    /// # Errors
    /// [`KeyringError::Authority`].
    pub fn generate(fleet: &str, clock: &dyn Clock, entropy: &dyn Entropy) -> Result<Self, KeyringError> {
        let (ca_crt, ca_key) = Authority::generate(fleet, clock, entropy)?;
        let admin_token = URL_SAFE_NO_PAD.encode(entropy.bytes::<32>());
        Ok(Self { ca_crt, ca_key, fleet_key: entropy.bytes(), admin_token, server: None })
    }
}

impl Keyring {
    /// Reads the secrets under a directory, making all of them where there is none and no store either; blocks for the disk.
    ///
    /// `has_store` is whether the store beside it holds an era. A file alone says nothing: a first start that was cut short
    /// leaves an empty one.
    ///
    /// # Errors
    /// [`KeyringError::PartlyLost`] if only some are there, [`KeyringError::Lost`], or whatever is wrong with one.
    pub fn open(
        directory: &Path,
        fleet: &str,
        names: ServerNames,
        has_store: bool,
        (clock, entropy): (&dyn Clock, &dyn Entropy),
    ) -> Result<Self, KeyringError> {
        let created = make_if_absent(directory, fleet, has_store, (clock, entropy))?;
        files::make_private_directory(directory).map_err(at(directory))?;
        let text = |name: &str| read_text(&directory.join(name));
        let fleet_key_path = directory.join("fleet.key");
        let mut fleet_key = [0; 32];
        hex::decode_to_slice(text("fleet.key")?.trim(), &mut fleet_key).map_err(|error| KeyringError::Damaged {
            path: fleet_key_path,
            problem: format!("not 64 hexadecimal digits: {error}"),
        })?;
        let server =
            match (optional_text(&directory.join("server.crt"))?, optional_text(&directory.join("server.key"))?) {
                (Some(certificate), Some(key)) => Some((certificate, key)),
                _ => None,
            };
        let admin_token = text("admin.token")?.trim().to_owned();
        let material = KeyMaterial { ca_crt: text("ca.crt")?, ca_key: text("ca.key")?, fleet_key, admin_token, server };
        let mark_path = directory.join("mark.json");
        let mark = MarkFile::open(&mark_path).map_err(at(&mark_path))?;
        let mut keyring = Self::assemble(fleet, names, material, mark, Some(directory), (clock, entropy))?;
        keyring.created = created;
        Ok(keyring)
    }

    /// Uses given secrets, and keeps what is issued in memory alone.
    ///
    /// # Errors
    /// Whatever is wrong with one of them.
    pub fn in_memory(
        fleet: &str,
        names: ServerNames,
        material: KeyMaterial,
        mark: MarkFile,
        ports: (&dyn Clock, &dyn Entropy),
    ) -> Result<Self, KeyringError> {
        Self::assemble(fleet, names, material, mark, None, ports)
    }

    fn assemble(
        fleet: &str,
        names: ServerNames,
        material: KeyMaterial,
        mark: MarkFile,
        directory: Option<&Path>,
        ports: (&dyn Clock, &dyn Entropy),
    ) -> Result<Self, KeyringError> {
        let authority = Authority::load(fleet, &material.ca_crt, &material.ca_key)?;
        let given = material.server.map(|(certificate_pem, key_pem)| ServerIdentity { certificate_pem, key_pem });
        let is_fresh = given.is_some();
        let empty = || ServerIdentity { certificate_pem: String::new(), key_pem: String::new() };
        let keyring = Self {
            fleet: fleet.to_owned(),
            authority,
            fleet_key: FleetKey::new(material.fleet_key),
            admin_token: material.admin_token,
            names,
            server: Mutex::new(given.unwrap_or_else(empty)),
            mark,
            directory: directory.map(Path::to_owned),
            created: false,
        };
        // In memory a given certificate is used as it is; in a directory it has to fit the names and the time.
        if !is_fresh || directory.is_some() {
            keyring.renew_server(ports)?;
        }
        Ok(keyring)
    }

    /// Returns the fleet's name.
    #[must_use]
    pub fn fleet(&self) -> &str {
        &self.fleet
    }

    /// Tells whether the secrets were made by this start: this is a new fleet.
    #[must_use]
    pub fn was_created(&self) -> bool {
        self.created
    }

    /// Returns the certificate authority.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Returns the key of fences.
    #[must_use]
    pub fn fleet_key(&self) -> &FleetKey {
        &self.fleet_key
    }

    /// Returns the administrator's token; never to be printed.
    #[must_use]
    pub fn admin_token(&self) -> &str {
        &self.admin_token
    }

    /// Returns the high-water mark.
    #[must_use]
    pub fn mark(&self) -> &MarkFile {
        &self.mark
    }

    /// Returns the hub's own certificate as it is now.
    #[must_use]
    pub fn server(&self) -> ServerIdentity {
        self.server.lock().expect("no holder of the certificate panics").clone()
    }

    /// Issues a cluster's certificate.
    ///
    /// # Errors
    /// [`AuthorityError::Issue`].
    pub fn issue_cluster(
        &self,
        cluster: ClusterId,
        request: &SigningRequest,
        lifetime: Duration,
        ports: (&dyn Clock, &dyn Entropy),
    ) -> Result<Issued, AuthorityError> {
        self.authority.issue_cluster(&self.fleet, cluster, request, lifetime, ports)
    }

    /// Issues the hub's certificate again if it is due, and tells whether it did; blocks for the disk.
    ///
    /// # Errors
    /// It could not be issued or written; the present one stays.
    pub fn renew_server(&self, (clock, entropy): (&dyn Clock, &dyn Entropy)) -> Result<bool, KeyringError> {
        let mut server = self.server.lock().expect("no holder of the certificate panics");
        let Some(reason) = server::why_renew(&server, &self.authority, &self.names, clock.now()) else {
            return Ok(false);
        };
        let key = KeyPair::generate().map_err(AuthorityError::from)?;
        let issued = self.authority.issue_server(&self.fleet, &self.names, &key, (clock, entropy))?;
        let renewed = ServerIdentity { certificate_pem: issued.pem, key_pem: key.serialize_pem() };
        if let Some(directory) = &self.directory {
            // The key first: a pair that does not fit, after a crash in between, is renewed at the next start.
            for (name, content) in [("server.key", &renewed.key_pem), ("server.crt", &renewed.certificate_pem)] {
                let path = directory.join(name);
                files::replace(&path, content.as_bytes()).map_err(at(&path))?;
            }
        }
        tracing::info!(reason, not_after = issued.not_after.0, "issued the hub's own certificate");
        *server = renewed;
        Ok(true)
    }
}

/// Makes the secrets in a directory beside, and renames it, so that a crash leaves all or nothing.
fn make_if_absent(
    directory: &Path,
    fleet: &str,
    has_store: bool,
    (clock, entropy): (&dyn Clock, &dyn Entropy),
) -> Result<bool, KeyringError> {
    let missing: Vec<_> = ESSENTIAL.into_iter().filter(|(name, _)| !directory.join(name).exists()).collect();
    let Some((missing_file, meaning)) = missing.first() else { return Ok(false) };
    let others = ["server.crt", "server.key", "mark.json"];
    if missing.len() < ESSENTIAL.len() || others.iter().any(|name| directory.join(name).exists()) {
        let directory = directory.to_owned();
        return Err(KeyringError::PartlyLost { directory, missing: missing_file, meaning });
    }
    if has_store {
        return Err(KeyringError::Lost(directory.to_owned()));
    }
    let beside = directory.with_extension("new");
    if beside.exists() {
        fs::remove_dir_all(&beside).map_err(at(&beside))?;
    }
    files::make_private_directory(&beside).map_err(at(&beside))?;
    let material = KeyMaterial::generate(fleet, clock, entropy)?;
    let fleet_key = hex::encode(material.fleet_key);
    let contents = [&material.ca_crt, &material.ca_key, &fleet_key, &material.admin_token];
    for ((name, _), content) in ESSENTIAL.iter().zip(contents) {
        let path = beside.join(name);
        files::replace(&path, content.as_bytes()).map_err(at(&path))?;
    }
    // A rename replaces an empty directory, and refuses any other.
    fs::rename(&beside, directory).map_err(at(directory))?;
    if let Some(parent) = directory.parent() {
        files::sync_directory(parent).map_err(at(parent))?;
    }
    Ok(true)
}

fn read_text(path: &Path) -> Result<String, KeyringError> {
    fs::read_to_string(path).map_err(at(path))
}

fn optional_text(path: &Path) -> Result<Option<String>, KeyringError> {
    let Some(bytes) = files::read(path).map_err(at(path))? else { return Ok(None) };
    Ok(String::from_utf8(bytes).ok())
}

fn at(path: &Path) -> impl Fn(io::Error) -> KeyringError + '_ {
    move |error| KeyringError::File { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests;
