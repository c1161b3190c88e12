//! Confirming that an object is deleted because somebody meant it.
//!
//! Owns the uncached reads and their order: the object's deletion was seen first, so that whatever took it along is seen, too.
//! Does not own what follows: the steward decides.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::{Api, Client};
use starling_hub_core::records::Absence;
use starling_hub_core::resources::crd::GROUP;
use starling_hub_core::steward::Evidence;

use super::FINALIZER;
use super::api::{ApiError, objects_beside, within};
use super::seen::Seen;

/// Reads anew what a deletion is evidence of; `None` if the object is not there as it was seen.
pub(super) async fn confirm(client: &Client, seen: &Seen) -> Result<Option<Evidence>, ApiError> {
    let key = &seen.key;
    let object = match within(objects_beside(client, key).get_metadata(&key.name)).await {
        Err(ApiError::NotFound) => return Ok(None),
        object => object?.metadata,
    };
    let is_under_ours = object.finalizers.iter().flatten().any(|name| name == FINALIZER);
    let Some(deleted) = object.deletion_timestamp.filter(|_| is_under_ours) else { return Ok(None) };
    if object.uid.as_deref() != Some(seen.uid.as_str()) {
        return Ok(None);
    }
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = format!("{}.{GROUP}", key.kind.plural());
    let kind = metadata_of(within(definitions.get_metadata(&definition)).await.map(|found| found.metadata))?;
    if let Some(absence) = judge(kind.as_ref(), &deleted, Absence::KindTerminating, Absence::KindMissing) {
        return Ok(Some(Evidence::Denied(absence)));
    }
    if key.kind.is_namespaced() {
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let namespace = metadata_of(within(namespaces.get(&key.namespace)).await.map(|found| found.metadata))?;
        let (terminating, missing) = (Absence::NamespaceTerminating, Absence::NamespaceMissing);
        if let Some(absence) = judge(namespace.as_ref(), &deleted, terminating, missing) {
            return Ok(Some(Evidence::Denied(absence)));
        }
    }
    Ok(Some(Evidence::Confirmed))
}

/// Tells why a deletion may have come from what holds the object; `None` if it did not.
fn judge(holder: Option<&ObjectMeta>, deleted: &Time, terminating: Absence, missing: Absence) -> Option<Absence> {
    let Some(holder) = holder else { return Some(missing) };
    if holder.deletion_timestamp.is_some() {
        return Some(terminating);
    }
    let made = holder.creation_timestamp.as_ref().map_or(Timestamp::MIN, |time| time.0);
    // The one that was there then has gone, and may have taken the object along.
    (made > deleted.0).then_some(missing)
}

fn metadata_of(answer: Result<ObjectMeta, ApiError>) -> Result<Option<ObjectMeta>, ApiError> {
    match answer {
        Ok(metadata) => Ok(Some(metadata)),
        Err(ApiError::NotFound) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> Time {
        Time(Timestamp::from_second(seconds).unwrap())
    }

    fn judged(holder: Option<&ObjectMeta>) -> Option<Absence> {
        judge(holder, &time(100), Absence::NamespaceTerminating, Absence::NamespaceMissing)
    }

    #[test]
    fn what_holds_an_object_must_be_there_and_older_than_the_deletion() {
        let mut holder = ObjectMeta { creation_timestamp: Some(time(50)), ..ObjectMeta::default() };
        assert_eq!(judged(Some(&holder)), None);
        assert_eq!(judged(None), Some(Absence::NamespaceMissing));
        holder.creation_timestamp = Some(time(101));
        assert_eq!(judged(Some(&holder)), Some(Absence::NamespaceMissing));
        holder.deletion_timestamp = Some(time(99));
        assert_eq!(judged(Some(&holder)), Some(Absence::NamespaceTerminating));
    }
}
