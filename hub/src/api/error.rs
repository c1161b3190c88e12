//! The one place where an error code becomes a gRPC status.

use starling_hub_core::steward::Refusal;
use starling_model::ErrorCode;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// The metadata key that carries the error code's name.
pub const ERROR_CODE: &str = "starling-error";

/// Makes the status of an error code, with a text for people.
#[must_use]
pub fn status(code: ErrorCode, message: impl Into<String>) -> Status {
    let grpc = match code {
        ErrorCode::InvalidRequest => Code::InvalidArgument,
        ErrorCode::Unauthenticated | ErrorCode::CredentialRefused => Code::Unauthenticated,
        ErrorCode::PermissionDenied => Code::PermissionDenied,
        ErrorCode::NotFound => Code::NotFound,
        ErrorCode::Conflict => Code::Aborted,
        ErrorCode::ApprovalRequired | ErrorCode::FleetHolds => Code::FailedPrecondition,
        ErrorCode::LimitExceeded => Code::ResourceExhausted,
        ErrorCode::Unavailable => Code::Unavailable,
        ErrorCode::Internal => Code::Internal,
    };
    let mut status = Status::new(grpc, message);
    status.metadata_mut().insert(ERROR_CODE, MetadataValue::from_static(code.as_str()));
    status
}

/// Makes the status of a refusal.
#[must_use]
pub fn refused(refusal: Refusal) -> Status {
    status(refusal.code, refusal.message)
}
