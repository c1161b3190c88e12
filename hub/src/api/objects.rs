//! Lists of Flux objects.

use std::collections::BTreeMap;

use starling_hub_core::fleet::Fleet;
use starling_hub_core::index::{Cursor, Filter, Found, HealthSet};
use starling_model::{ClusterId, ErrorCode, Health, Millis};
use starling_proto::v1;
use tonic::Status;

use super::Admin;
use super::error::status;
use super::select::{name_of, page_size};
use super::sight::{Sight, parse_name};
use crate::access::Caller;
use crate::gather::{Gathered, ObjectPage};

impl Admin {
    pub(super) async fn tell_objects(
        &self,
        caller: &Caller,
        asked: &v1::ListObjectsRequest,
    ) -> Result<v1::ListObjectsResponse, Status> {
        let fleet = self.fleet();
        let sight = self.sight(caller, &fleet, asked.selector.as_ref(), &asked.assignment).await?;
        let Some(filter) = self.filter(&fleet, asked, &sight).await? else {
            return Ok(v1::ListObjectsResponse::default());
        };
        let after = match asked.page.as_ref().map_or("", |page| page.token.as_str()) {
            "" => None,
            token => Some(token.parse::<Cursor>().map_err(|error| {
                status(ErrorCode::InvalidRequest, format!("page token: {error}; begin again without one"))
            })?),
        };
        let size = page_size(asked.page.as_ref());
        let Gathered { value, unanswered } = self.parts.gather.objects(&filter, after.as_ref(), size).await;
        let ObjectPage { page, old } = value;
        Ok(v1::ListObjectsResponse {
            next_page_token: page.next().map(|cursor| cursor.to_string()).unwrap_or_default(),
            total: page.total,
            unanswered: unanswered.into_iter().collect(),
            objects: page.objects.into_iter().map(|found| tell_object(&fleet, &sight, found, &old)).collect(),
        })
    }

    /// Makes the index's filter for what the caller sees; `None` where nothing can match.
    pub(super) async fn filter(
        &self,
        fleet: &Fleet,
        asked: &v1::ListObjectsRequest,
        sight: &Sight,
    ) -> Result<Option<Filter>, Status> {
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        let clusters = self.select_ids(fleet, asked.selector.as_ref(), sight).await?;
        let mut filter = Filter {
            visible: sight.visible(fleet, clusters.as_ref()),
            clusters,
            kind: text(&asked.kind),
            namespace: text(&asked.namespace),
            name: text(&asked.name),
            ..Filter::default()
        };
        if !asked.health.is_empty() {
            let health = asked.health().map(Health::try_from).collect::<Result<HealthSet, _>>();
            filter.health = health.map_err(|error| status(ErrorCode::InvalidRequest, error.to_string()))?;
        }
        if !asked.assignment.is_empty() {
            let name = parse_name(&asked.assignment)?;
            let Some(assignment) = fleet.assignment_named(&name.namespace, &name.name) else { return Ok(None) };
            filter.assignment = Some(assignment.record.uid);
        }
        Ok(Some(filter))
    }
}

fn tell_object(fleet: &Fleet, sight: &Sight, found: Found, old: &BTreeMap<ClusterId, Millis>) -> v1::FluxObject {
    let name = name_of(fleet, found.cluster);
    // Whoever sees an assignment's objects learns no more of their clusters than the names.
    let cluster_id = if sight.covers(&name) { found.cluster.to_string() } else { String::new() };
    let assignment = found.status.assignment.and_then(|uid| fleet.assignment(uid));
    v1::FluxObject {
        workspace: name.namespace,
        cluster: name.name,
        since_millis: found.since.0,
        old_since_millis: old.get(&found.cluster).map_or(0, |since| since.0),
        assignment: assignment.map(|record| record.name.to_string()).unwrap_or_default(),
        cluster_id,
        status: Some(found.status.into()),
    }
}
