//! Keeps the identity usable: gets it, renews it in time, stores authorities that the hub announces, joins anew where
//! the hub no longer takes it and there is a token.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Enrolment, Identity};
use crate::ports::Ports;
use crate::shared::{Credentials, Shared};

/// The longest sleep at once: a machine that slept is not surprised by an expired certificate for longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// Keeps the identity of one agent.
pub(crate) struct Keeper {
    enrolment: Enrolment,
    shared: Arc<Shared>,
    ports: Ports,
    pinned: Vec<u8>,
    /// The token with which joining anew was tried, so that a used one is shown once.
    tried_token: Option<String>,
    /// The certificate that the session dials with.
    published: String,
}

impl Keeper {
    pub(crate) fn new(enrolment: Enrolment, shared: Arc<Shared>, ports: Ports, pinned: Vec<u8>) -> Self {
        Self { enrolment, shared, ports, pinned, tried_token: None, published: String::new() }
    }

    /// Keeps the identity for ever.
    pub(crate) async fn run(mut self) {
        let mut identity = self.enrolment.obtain().await;
        let mut draw = self.ports.draw();
        let mut failures = 0;
        loop {
            self.publish(&identity);
            let wait = identity.renewal_in(self.ports.clock.now(), draw);
            if !wait.is_zero() {
                tokio::select! {
                    biased;
                    () = self.shared.identity_bell.notified() => {}
                    () = sleep(wait.min(LONGEST_SLEEP)) => continue,
                }
                identity = self.rung(identity).await;
                continue;
            }
            match self.enrolment.renew(&identity).await {
                Ok(renewed) => {
                    tracing::info!(not_after = renewed.not_after().0, "certificate renewed");
                    identity = renewed;
                    draw = self.ports.draw();
                    failures = 0;
                }
                Err(error) => {
                    if error.needs_a_person() {
                        identity = self.join_anew(identity).await;
                    }
                    if identity.renewal_in(self.ports.clock.now(), draw).is_zero() {
                        self.enrolment.wait_after(&error, &mut failures).await;
                    }
                }
            }
        }
    }

    /// Makes the identity the one to dial with.
    fn publish(&mut self, identity: &Identity) {
        match identity.tls(&self.pinned, &self.ports.clock) {
            Ok(tls) => {
                let credentials = Credentials { tls, not_after: identity.not_after() };
                let certificate = &identity.stored().certificate_pem;
                let mut state = self.shared.state();
                state.credentials = Some(credentials);
                state.identity_changed |= *certificate != self.published;
                drop(state);
                self.published.clone_from(certificate);
                self.shared.session_bell.notify_one();
            }
            Err(error) => tracing::error!(%error, "the identity cannot be used for TLS"),
        }
    }

    async fn rung(&mut self, identity: Identity) -> Identity {
        let (trust, refused) = {
            let mut state = self.shared.state();
            (state.announced_trust.take(), std::mem::take(&mut state.identity_is_refused))
        };
        let mut identity = identity;
        if let Some(trust) = trust {
            match self.enrolment.keep_trust(identity.clone(), trust).await {
                Ok(changed) => identity = changed,
                Err(error) => tracing::warn!(%error, "cannot take over the announced authorities"),
            }
        }
        if refused { self.join_anew(identity).await } else { identity }
    }

    /// Joins anew with a token that was not tried yet; the identity stays as it is where that is not possible.
    async fn join_anew(&mut self, identity: Identity) -> Identity {
        let token = self.enrolment.token();
        if token.is_none() || token == self.tried_token {
            return identity;
        }
        match self.enrolment.rejoin().await {
            Ok(Some(joined)) => joined,
            Ok(None) => identity,
            Err(error) => {
                if error.needs_a_person() {
                    self.tried_token = token;
                }
                tracing::warn!(%error, "the hub does not take this identity, and joining anew failed");
                identity
            }
        }
    }
}
