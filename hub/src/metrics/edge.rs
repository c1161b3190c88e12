//! Metrics of connections and enrolment.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use starling_hub_core::enrolment::CredentialRefusal;
use starling_model::ErrorCode;

/// Reasons of a refused join or renewal besides a refused credential and the error codes.
const REFUSALS: [&str; 6] =
    ["token-malformed", "request-malformed", "rate-limited", "no-certificate", "foreign-certificate", "proof-wrong"];

/// Metrics of connections and enrolment.
#[derive(Clone, Default)]
pub struct EdgeMetrics {
    /// Connections that did not become one, by reason.
    pub connections_refused: Family<RefusedConnection, Counter>,
    /// Connections that completed their handshake.
    pub handshakes: Counter,
    /// Connections that are open now.
    pub connections: Gauge,
    /// Failures of accepting, such as too many open files.
    pub accept_failures: Counter,
    /// Certificates that were issued, by method.
    pub certificates_issued: Family<Method, Counter>,
    /// Joins and renewals that were refused, by reason.
    pub join_refused: Family<Reason, Counter>,
}

/// Why a connection was closed before it could be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConnectionRefusal {
    /// It said nothing, or not enough in time.
    Timeout,
    /// What it said is not TLS.
    NotTls,
    /// Its certificate is of another authority, or names no cluster of this fleet.
    ForeignCertificate,
    /// Its certificate cannot be used for another reason.
    BadCertificate,
    /// It does not accept the hub's certificate.
    HubNotTrusted,
    /// It does not speak TLS 1.3 or HTTP/2, or broke the protocol.
    Protocol,
    /// It went away.
    Closed,
    /// The hub has as many connections as it may have.
    TooMany,
}

/// The label of [`EdgeMetrics::connections_refused`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedConnection {
    /// Why.
    pub reason: ConnectionRefusal,
}

/// The label of a refused join or renewal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    /// From a closed set.
    pub reason: &'static str,
}

/// The label of a method of enrolment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Method {
    /// `join` or `renew`.
    pub method: &'static str,
}

impl EdgeMetrics {
    /// Counts a connection that was closed before it could be used.
    pub fn refuse_connection(&self, reason: ConnectionRefusal) {
        self.connections_refused.get_or_create(&RefusedConnection { reason }).inc();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let Self { connections_refused, handshakes, connections, accept_failures, certificates_issued, join_refused } =
            self;
        for reason in ConnectionRefusal::ALL {
            connections_refused.get_or_create_owned(&RefusedConnection { reason });
        }
        registry.register(
            "connections_refused",
            "Connections that were closed before they could be used",
            connections_refused.clone(),
        );
        registry.register("handshakes", "Connections that completed their TLS handshake", handshakes.clone());
        registry.register("connections", "Connections that are open now", connections.clone());
        registry.register("accept_failures", "Failures of accepting a connection", accept_failures.clone());
        for method in ["join", "renew"] {
            certificates_issued.get_or_create_owned(&Method { method });
        }
        let credentials = CredentialRefusal::ALL.iter().map(|refusal| refusal.as_str());
        for reason in credentials.chain(REFUSALS).chain(ErrorCode::ALL.map(ErrorCode::as_str)) {
            join_refused.get_or_create_owned(&Reason { reason });
        }
        registry.register("certificates_issued", "Certificates issued to clusters", certificates_issued.clone());
        registry.register("join_refused", "Joins and renewals that were refused", join_refused.clone());
    }
}

impl ConnectionRefusal {
    /// Every reason, in the order of definition.
    pub const ALL: [Self; 8] = [
        Self::Timeout,
        Self::NotTls,
        Self::ForeignCertificate,
        Self::BadCertificate,
        Self::HubNotTrusted,
        Self::Protocol,
        Self::Closed,
        Self::TooMany,
    ];

    /// Returns the reason's name in metrics and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::NotTls => "not-tls",
            Self::ForeignCertificate => "foreign-certificate",
            Self::BadCertificate => "bad-certificate",
            Self::HubNotTrusted => "hub-not-trusted",
            Self::Protocol => "protocol",
            Self::Closed => "closed",
            Self::TooMany => "too-many",
        }
    }
}

impl EncodeLabelValue for ConnectionRefusal {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}
