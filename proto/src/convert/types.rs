//! Conversion of the words that several services share.

use starling_model::{
    Era, Facts, Fence, Health, InstallKey, InstallReport, InstallState, ObjectKey, ObjectStatus, Position,
};

use super::{ConvertError, digest, required, uid};
use crate::v1;

impl From<ObjectKey> for v1::ObjectKey {
    fn from(key: ObjectKey) -> Self {
        Self { group: key.group, kind: key.kind, namespace: key.namespace, name: key.name }
    }
}

impl TryFrom<v1::ObjectKey> for ObjectKey {
    type Error = ConvertError;

    fn try_from(wire: v1::ObjectKey) -> Result<Self, ConvertError> {
        if wire.kind.is_empty() || wire.name.is_empty() {
            return Err(ConvertError::Invalid("object key"));
        }
        Ok(Self { group: wire.group, kind: wire.kind, namespace: wire.namespace, name: wire.name })
    }
}

impl From<InstallKey> for v1::InstallKey {
    fn from(key: InstallKey) -> Self {
        Self { namespace: key.namespace, name: key.name }
    }
}

impl TryFrom<v1::InstallKey> for InstallKey {
    type Error = ConvertError;

    fn try_from(wire: v1::InstallKey) -> Result<Self, ConvertError> {
        let key = Self { namespace: wire.namespace, name: wire.name };
        // Keys become names of objects and of records, so what is no label is refused at the edge.
        key.to_string().parse().map_err(|_| ConvertError::Invalid("install key"))
    }
}

impl From<Fence> for v1::Fence {
    fn from(fence: Fence) -> Self {
        Self {
            era_number: fence.era.number,
            era_id: fence.era.id.0.to_vec(),
            position: fence.position.0,
            mac: fence.mac.to_vec(),
        }
    }
}

impl TryFrom<v1::Fence> for Fence {
    type Error = ConvertError;

    fn try_from(wire: v1::Fence) -> Result<Self, ConvertError> {
        Ok(Self {
            era: Era { number: wire.era_number, id: uid(&wire.era_id, "fence.era_id")? },
            position: Position(wire.position),
            mac: wire.mac.as_slice().try_into().map_err(|_| ConvertError::Invalid("fence.mac"))?,
        })
    }
}

impl From<Facts> for v1::Facts {
    fn from(facts: Facts) -> Self {
        Self {
            kubernetes_version: facts.kubernetes_version,
            flux_version: facts.flux_version,
            nodes: facts.nodes,
            platform: facts.platform,
            extra: facts.extra,
        }
    }
}

impl From<v1::Facts> for Facts {
    fn from(wire: v1::Facts) -> Self {
        Self {
            kubernetes_version: wire.kubernetes_version,
            flux_version: wire.flux_version,
            nodes: wire.nodes,
            platform: wire.platform,
            extra: wire.extra,
        }
    }
}

impl From<Health> for v1::Health {
    fn from(health: Health) -> Self {
        match health {
            Health::Stalled => Self::Stalled,
            Health::Failing => Self::Failing,
            Health::FailingRetrying => Self::FailingRetrying,
            Health::Unknown => Self::Unknown,
            Health::Stale => Self::Stale,
            Health::Progressing => Self::Progressing,
            Health::Deleting => Self::Deleting,
            Health::Suspended => Self::Suspended,
            Health::Ready => Self::Ready,
            Health::None => Self::None,
        }
    }
}

impl TryFrom<v1::Health> for Health {
    type Error = ConvertError;

    fn try_from(wire: v1::Health) -> Result<Self, ConvertError> {
        match wire {
            v1::Health::Unspecified => Err(ConvertError::Invalid("health")),
            v1::Health::Stalled => Ok(Self::Stalled),
            v1::Health::Failing => Ok(Self::Failing),
            v1::Health::FailingRetrying => Ok(Self::FailingRetrying),
            v1::Health::Unknown => Ok(Self::Unknown),
            v1::Health::Stale => Ok(Self::Stale),
            v1::Health::Progressing => Ok(Self::Progressing),
            v1::Health::Deleting => Ok(Self::Deleting),
            v1::Health::Suspended => Ok(Self::Suspended),
            v1::Health::Ready => Ok(Self::Ready),
            v1::Health::None => Ok(Self::None),
        }
    }
}

impl From<ObjectStatus> for v1::ObjectStatus {
    fn from(status: ObjectStatus) -> Self {
        Self {
            key: Some(status.key.into()),
            health: v1::Health::from(status.health).into(),
            reason: status.reason,
            message: status.message,
            revision: status.revision,
            generation: status.generation,
            assignment: status.assignment.map_or_else(Vec::new, |uid| uid.0.to_vec()),
        }
    }
}

impl TryFrom<v1::ObjectStatus> for ObjectStatus {
    type Error = ConvertError;

    fn try_from(wire: v1::ObjectStatus) -> Result<Self, ConvertError> {
        let health = v1::Health::try_from(wire.health).map_err(|_| ConvertError::Invalid("status.health"))?;
        Ok(Self {
            key: required(wire.key, "status.key")?.try_into()?,
            health: health.try_into()?,
            reason: wire.reason,
            message: wire.message,
            revision: wire.revision,
            generation: wire.generation,
            assignment: if wire.assignment.is_empty() {
                None
            } else {
                Some(uid(&wire.assignment, "status.assignment")?)
            },
        })
    }
}

impl From<InstallState> for v1::InstallState {
    fn from(state: InstallState) -> Self {
        match state {
            InstallState::Applying => Self::Applying,
            InstallState::Applied => Self::Applied,
            InstallState::Rejected => Self::Rejected,
            InstallState::Removing => Self::Removing,
        }
    }
}

impl TryFrom<v1::InstallState> for InstallState {
    type Error = ConvertError;

    fn try_from(wire: v1::InstallState) -> Result<Self, ConvertError> {
        match wire {
            v1::InstallState::Unspecified => Err(ConvertError::Invalid("install.state")),
            v1::InstallState::Applying => Ok(Self::Applying),
            v1::InstallState::Applied => Ok(Self::Applied),
            v1::InstallState::Rejected => Ok(Self::Rejected),
            v1::InstallState::Removing => Ok(Self::Removing),
        }
    }
}

impl From<InstallReport> for v1::InstallReport {
    fn from(report: InstallReport) -> Self {
        Self {
            install: Some(report.install.into()),
            assignment: report.assignment.0.to_vec(),
            assignment_name: report.assignment_name,
            render: report.render.0.to_vec(),
            revision: report.revision.0.to_vec(),
            recorded_era: report.recorded.0,
            recorded_position: report.recorded.1.0,
            state: v1::InstallState::from(report.state).into(),
            message: report.message,
            drift_repairs: report.drift_repairs,
            last_drift: report.last_drift,
        }
    }
}

impl TryFrom<v1::InstallReport> for InstallReport {
    type Error = ConvertError;

    fn try_from(wire: v1::InstallReport) -> Result<Self, ConvertError> {
        let state = v1::InstallState::try_from(wire.state).map_err(|_| ConvertError::Invalid("install.state"))?;
        Ok(Self {
            install: required(wire.install, "install.install")?.try_into()?,
            assignment: uid(&wire.assignment, "install.assignment")?,
            assignment_name: wire.assignment_name,
            render: digest(&wire.render, "install.render")?,
            revision: digest(&wire.revision, "install.revision")?,
            recorded: (wire.recorded_era, Position(wire.recorded_position)),
            state: state.try_into()?,
            message: wire.message,
            drift_repairs: wire.drift_repairs,
            last_drift: wire.last_drift,
        })
    }
}
