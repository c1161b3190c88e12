//! Keeps the identity usable: gets it, renews it in time, stores authorities that the hub announces, joins anew where
//! the hub no longer takes it and there is a token.

use std::sync::Arc;
use std::time::Duration;

use starling_model::{ClusterId, Millis};
use tokio::time::sleep;

use super::{Enrolment, Identity};
use crate::ports::Ports;
use crate::shared::{Credentials, Shared};

/// The longest sleep at once: a machine that slept is not surprised by an expired certificate for longer.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// The least time between two renewals: of a certificate with a short life, and of all others.
const RENEWAL_PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// Waits between attempts to join anew where the identity is of other authorities than the pinned ones: least and most.
const DOUBT: (Duration, Duration) = (Duration::from_secs(15), Duration::from_secs(60));

/// Keeps the identity of one agent.
pub(crate) struct Keeper {
    enrolment: Enrolment,
    shared: Arc<Shared>,
    ports: Ports,
    pinned: Vec<u8>,
    /// The token with which joining anew was tried, so that a used one is shown once.
    tried_token: Option<String>,
    /// The identity with which a session was open.
    accepted: Option<ClusterId>,
    /// The certificate that the session dials with, and how many there were before.
    published: (String, u64),
    /// Until when it is not renewed again (time since boot).
    renewed_until: Millis,
}

impl Keeper {
    pub(crate) fn new(enrolment: Enrolment, shared: Arc<Shared>, ports: Ports, pinned: Vec<u8>) -> Self {
        Self {
            enrolment,
            shared,
            ports,
            pinned,
            tried_token: None,
            accepted: None,
            published: (String::new(), 0),
            renewed_until: Millis(0),
        }
    }

    /// Keeps the identity for ever.
    pub(crate) async fn run(mut self) {
        let mut identity = self.enrolment.obtain().await;
        if self.enrolment.is_of_others(&identity) {
            tracing::info!("the stored certificate is of other authorities than those that are pinned, joining anew");
            identity = self.join_anew(identity).await;
        }
        let mut draw = self.ports.draw();
        let mut failures = 0;
        loop {
            self.publish(&identity);
            let pause = self.renewed_until.since(self.ports.clock.uptime());
            let wait = identity.renewal_in(self.ports.clock.now(), draw).max(pause);
            if !wait.is_zero() {
                let is_doubted = self.is_doubted(&identity);
                let doubt = if is_doubted { self.ports.draw_wait(DOUBT.0, DOUBT.1) } else { LONGEST_SLEEP };
                tokio::select! {
                    biased;
                    () = self.shared.identity_bell.notified() => identity = self.rung(identity).await,
                    () = sleep(wait.min(doubt)) => {
                        if is_doubted && self.is_doubted(&identity) {
                            identity = self.join_anew(identity).await;
                        }
                    }
                }
                continue;
            }
            match self.enrolment.renew(&identity).await {
                Ok(renewed) => {
                    tracing::info!(not_after = renewed.not_after().0, "certificate renewed");
                    identity = renewed;
                    draw = self.ports.draw();
                    failures = 0;
                    self.pause_after(&identity);
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

    /// Tells whether joining anew is worth another attempt: the identity is of other authorities than the pinned ones, no
    /// hub took it since, and there is a token that was not refused.
    fn is_doubted(&mut self, identity: &Identity) -> bool {
        if self.shared.state().session.is_open() {
            self.accepted = Some(identity.cluster);
        }
        let token = self.enrolment.token();
        self.accepted != Some(identity.cluster)
            && token.is_some()
            && token != self.tried_token
            && self.enrolment.is_of_others(identity)
    }

    /// Leaves time until the next renewal: each is written by the hub.
    fn pause_after(&mut self, identity: &Identity) {
        let left = identity.not_after().since(self.ports.clock.now());
        if left.is_zero() {
            let next = "set this machine's clock";
            tracing::warn!(
                not_after = identity.not_after().0,
                next,
                "the hub's new certificate has expired here already"
            );
        }
        self.renewed_until = self.ports.clock.uptime().plus(renewal_pause(left));
    }

    /// Makes the identity the one to dial with.
    fn publish(&mut self, identity: &Identity) {
        match identity.tls(&self.pinned, &self.ports.clock) {
            Ok(tls) => {
                let certificate = &identity.stored().certificate_pem;
                let is_new = *certificate != self.published.0;
                if is_new {
                    self.published = (certificate.clone(), self.published.1 + 1);
                }
                let mut state = self.shared.state();
                state.credentials =
                    Some(Credentials { tls, not_after: identity.not_after(), generation: self.published.1 });
                state.identity_changed |= is_new;
                drop(state);
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

/// Returns how long to use a new certificate that has this much left. On a machine whose clock is far ahead each new one is
/// old, or over, and is worth renewing at once, for ever.
fn renewal_pause(left: Duration) -> Duration {
    if left.is_zero() { RENEWAL_PAUSE.1 } else { (left / 2).clamp(RENEWAL_PAUSE.0, RENEWAL_PAUSE.1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewals_keep_a_distance() {
        let second = Duration::from_secs(1);
        for (left, pause) in [(0, 60), (4, 5), (60, 30), (2_592_000, 60)] {
            assert_eq!(renewal_pause(left * second), pause * second, "{left} s left");
        }
    }
}
