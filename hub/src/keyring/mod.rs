//! The hub's secrets, outside the store: files in `<state>/keys/`, or entries of a Secret.
//!
//! | entry | what it is | when it is lost |
//! |---|---|---|
//! | `ca.crt`, `ca.key` | the fleet's certificate authority | no agent trusts the hub any more |
//! | `fleet.key` | the key of fences | no agent's fence can be told from an invented one |
//! | `admin.token` | the administrator's token | nobody can call the admin API |
//! | `server.crt`, `server.key` | the hub's own certificate | it is issued again |
//! | `mark.json` | the high-water mark of positions ([`HighWaterMark`]) | the fleet holds until `starling store recover` |
//!
//! Where the authority comes from somewhere else ([`GivenAuthority`]), `ca.key` is not kept here, and `ca.crt` is what was pinned.
//!
//! Owns making, reading and renewing them, and issuing certificates. Does not own TLS, nor who may have a certificate.

mod authority;
mod certificate;
mod context;
mod files;
mod mark;
mod server;
mod storage;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::KeyPair;
use starling_model::{ClusterId, FleetKey, Millis};

pub use self::authority::{
    Authority, AuthorityError, CLUSTER_LIFETIME, GivenAuthority, Issued, SERVER_LIFETIME, ServerNames,
};
pub use self::certificate::{
    CertificateError, CertificateFacts, RequestError, SigningRequest, is_signed_by, key_fingerprint,
};
pub use self::context::{write_admin_context, write_private};
pub use self::mark::HighWaterMark;
pub use self::storage::{Entries, KeyDirectory, KeyStorage};
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
    mark: HighWaterMark,
    storage: Option<Arc<dyn KeyStorage>>,
    created: bool,
}

/// Who the hub is, and where its authority comes from.
#[derive(Clone)]
pub struct KeyringOptions {
    /// The fleet's name.
    pub fleet: String,
    /// The names under which the hub can be dialled.
    pub names: ServerNames,
    /// The authority, where it is not the hub's own.
    pub authority: Option<GivenAuthority>,
    /// Whether the store beside it holds an era. A file alone says nothing: a first start that was cut short leaves an empty one.
    pub has_store: bool,
}

/// A place of secrets that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// Some of what belongs together is missing.
    #[error(
        "{place}: {missing} is missing, and others of the fleet's secrets are there. It is {meaning}. Restore it from a backup; \
         to begin a new fleet instead, move the secrets and the state directory away and adopt every cluster again"
    )]
    PartlyLost {
        /// The directory or Secret.
        place: String,
        /// The first missing entry.
        missing: &'static str,
        /// What that entry is.
        meaning: &'static str,
    },
    /// All of it is missing, and the fleet's store is there.
    #[error(
        "{0}: the fleet's secrets are missing, and its store is there. Without them no agent trusts this hub, and no fence \
         can be verified. Restore them from a backup; to begin a new fleet instead, move the state directory away and adopt \
         every cluster again"
    )]
    Lost(String),
    /// The place cannot be read or written.
    #[error("{place}: {error}")]
    Storage {
        /// The directory or Secret.
        place: String,
        /// Why.
        error: io::Error,
    },
    /// An entry is not what it should be.
    #[error("{place}: {entry}: {problem}")]
    Damaged {
        /// The directory or Secret.
        place: String,
        /// The entry.
        entry: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The authority cannot be used, or cannot issue.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl KeyringError {
    /// Tells whether the place may be usable in a moment.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        use io::ErrorKind::{AlreadyExists, NotConnected, PermissionDenied};
        match self {
            // Files are not made twice, and permissions of files do not come by themselves.
            Self::Storage { error, .. } => {
                error.get_ref().is_some() && matches!(error.kind(), AlreadyExists | NotConnected | PermissionDenied)
            }
            Self::PartlyLost { .. } | Self::Lost(_) | Self::Damaged { .. } | Self::Authority(_) => false,
        }
    }
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
    /// Reads the secrets of a storage, making all of them where there is none and no store either.
    ///
    /// # Errors
    /// [`KeyringError::PartlyLost`] if only some are there, [`KeyringError::Lost`], or whatever is wrong with one.
    pub async fn open(
        storage: Arc<dyn KeyStorage>,
        options: KeyringOptions,
        ports: (&dyn Clock, &dyn Entropy),
    ) -> Result<Self, KeyringError> {
        let place = storage.place();
        let (entries, created) = read_or_make(storage.as_ref(), &options, ports).await?;
        let text = |entry: &'static str| text(&place, &entries, entry);
        let damaged = |entry, problem| KeyringError::Damaged { place: place.clone(), entry, problem };
        let mut fleet_key = [0; 32];
        hex::decode_to_slice(text("fleet.key")?.trim(), &mut fleet_key)
            .map_err(|error| damaged("fleet.key", format!("not 64 hexadecimal digits: {error}")))?;
        let server = match (text("server.crt"), text("server.key")) {
            (Ok(certificate), Ok(key)) => Some((certificate, key)),
            _ => None,
        };
        let admin_token = text("admin.token")?.trim().to_owned();
        let mark = HighWaterMark::read(Arc::clone(&storage), &entries)
            .map_err(|error| damaged("mark.json", error.to_string()))?;
        let authority = match &options.authority {
            Some(given) => given.load(&text("ca.crt")?)?,
            None => Authority::load(&options.fleet, &text("ca.crt")?, &text("ca.key")?)?,
        };
        let keyring = Self {
            fleet: options.fleet,
            authority,
            fleet_key: FleetKey::new(fleet_key),
            admin_token,
            names: options.names,
            server: Mutex::new(ServerIdentity::of(server)),
            mark,
            storage: Some(storage),
            created,
        };
        keyring.renew_server(ports).await?;
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
        mark: HighWaterMark,
        ports: (&dyn Clock, &dyn Entropy),
    ) -> Result<Self, KeyringError> {
        let authority = Authority::load(fleet, &material.ca_crt, &material.ca_key)?;
        let keyring = Self {
            fleet: fleet.to_owned(),
            authority,
            fleet_key: FleetKey::new(material.fleet_key),
            admin_token: material.admin_token,
            names,
            server: Mutex::new(ServerIdentity::of(material.server)),
            mark,
            storage: None,
            created: false,
        };
        // A given certificate is used as it is.
        if keyring.server().certificate_pem.is_empty() {
            let (renewed, _) = keyring.issue_server(ports)?;
            *keyring.present_server() = renewed;
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
    pub fn mark(&self) -> &HighWaterMark {
        &self.mark
    }

    /// Returns the hub's own certificate as it is now.
    #[must_use]
    pub fn server(&self) -> ServerIdentity {
        self.present_server().clone()
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

    /// Issues the certificate by which this process proves to the others of the hub that it is the one of that name.
    ///
    /// # Errors
    /// [`AuthorityError::Issue`].
    pub fn issue_process(
        &self,
        process: &str,
        ports: (&dyn Clock, &dyn Entropy),
    ) -> Result<(ServerIdentity, Millis), AuthorityError> {
        let key = KeyPair::generate()?;
        let issued = self.authority.issue_process(&self.fleet, process, &key, ports)?;
        let identity = ServerIdentity { certificate_pem: issued.pem, key_pem: key.serialize_pem() };
        Ok((identity, issued.not_after))
    }

    /// Reads the mark again, which another process of the hub may have written since.
    ///
    /// # Errors
    /// The place cannot be read, or holds no mark.
    pub async fn refresh_mark(&self) -> io::Result<()> {
        let Some(storage) = &self.storage else { return Ok(()) };
        self.mark.refresh(&storage.read().await?)
    }

    /// Issues the hub's certificate again if it is due, and tells whether it did.
    ///
    /// # Errors
    /// It could not be issued or written; the present one stays.
    pub async fn renew_server(&self, ports: (&dyn Clock, &dyn Entropy)) -> Result<bool, KeyringError> {
        let due = server::why_renew(&self.server(), &self.authority, &self.names, ports.0.now());
        let Some(reason) = due else { return Ok(false) };
        let (renewed, not_after) = self.issue_server(ports)?;
        if let Some(storage) = self.storage.as_ref().filter(|storage| storage.keeps_server_certificate()) {
            // The key first: a pair that does not fit, after a crash in between, is renewed at the next start.
            for (name, content) in [("server.key", &renewed.key_pem), ("server.crt", &renewed.certificate_pem)] {
                storage.replace(name, content.clone().into_bytes()).await.map_err(at(storage.as_ref()))?;
            }
        }
        tracing::info!(reason, not_after = not_after.0, "issued the hub's own certificate");
        *self.present_server() = renewed;
        Ok(true)
    }

    fn issue_server(&self, ports: (&dyn Clock, &dyn Entropy)) -> Result<(ServerIdentity, Millis), KeyringError> {
        let key = KeyPair::generate().map_err(AuthorityError::from)?;
        let issued = self.authority.issue_server(&self.fleet, &self.names, &key, ports)?;
        let renewed = ServerIdentity { certificate_pem: issued.pem, key_pem: key.serialize_pem() };
        Ok((renewed, issued.not_after))
    }

    fn present_server(&self) -> MutexGuard<'_, ServerIdentity> {
        self.server.lock().expect("no holder of the certificate panics")
    }
}

impl ServerIdentity {
    fn of(pair: Option<(String, String)>) -> Self {
        let (certificate_pem, key_pem) = pair.unwrap_or_default();
        Self { certificate_pem, key_pem }
    }
}

/// Reads the secrets, or makes all of them where there is none; tells whether it did.
async fn read_or_make(
    storage: &dyn KeyStorage,
    options: &KeyringOptions,
    (clock, entropy): (&dyn Clock, &dyn Entropy),
) -> Result<(Entries, bool), KeyringError> {
    let place = storage.place();
    let entries = storage.read().await.map_err(at(storage))?;
    let essential = || ESSENTIAL.into_iter().filter(|(name, _)| options.authority.is_none() || *name != "ca.key");
    let missing = essential().find(|(name, _)| !entries.contains_key(*name));
    let Some((missing, meaning)) = missing else { return Ok((entries, false)) };
    let known = ESSENTIAL.map(|(name, _)| name).into_iter().chain(["server.crt", "server.key", "mark.json"]);
    if known.into_iter().any(|name| entries.contains_key(name)) {
        return Err(KeyringError::PartlyLost { place, missing, meaning });
    }
    if options.has_store {
        return Err(KeyringError::Lost(place));
    }
    let material = KeyMaterial::generate(&options.fleet, clock, entropy)?;
    let mut made = Entries::from([
        ("fleet.key".to_owned(), hex::encode(material.fleet_key).into_bytes()),
        ("admin.token".to_owned(), material.admin_token.into_bytes()),
    ]);
    match &options.authority {
        Some(given) => drop(made.insert("ca.crt".to_owned(), given.certificate_pem().as_bytes().to_vec())),
        None => {
            made.insert("ca.crt".to_owned(), material.ca_crt.into_bytes());
            made.insert("ca.key".to_owned(), material.ca_key.into_bytes());
        }
    }
    storage.create(made.clone()).await.map_err(at(storage))?;
    Ok((made, true))
}

fn text(place: &str, entries: &Entries, entry: &'static str) -> Result<String, KeyringError> {
    let damaged = |problem: String| KeyringError::Damaged { place: place.to_owned(), entry, problem };
    let bytes = entries.get(entry).ok_or_else(|| damaged("it is missing".to_owned()))?;
    String::from_utf8(bytes.clone()).map_err(|error| damaged(error.to_string()))
}

fn at(storage: &dyn KeyStorage) -> impl Fn(io::Error) -> KeyringError + '_ {
    move |error| KeyringError::Storage { place: storage.place(), error }
}

#[cfg(test)]
mod tests;
