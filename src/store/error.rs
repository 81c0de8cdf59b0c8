//! Why a store can't be used.

use std::error::Error as _;
use std::path::PathBuf;

/// Why a store can't be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory.
    #[error("can't make the directory {}; check the path and its rights", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No threads for the requests.
    #[error("can't start the threads that speak to {place}")]
    Runtime {
        /// The store.
        place: String,
        /// Why.
        source: std::io::Error,
    },
    /// The settings don't make a client.
    #[error("{place} can't be reached with these settings: {reason}; see [s3] in the configuration")]
    Settings {
        /// The store.
        place: String,
        /// What the client library says.
        reason: String,
    },
    /// There is no such object.
    #[error("there is no {name} in {place}")]
    Missing {
        /// The store.
        place: String,
        /// The object.
        name: String,
    },
    /// An object ends before what is to be read.
    #[error("{name} in {place} is shorter than it was when it was written; restore it from a copy")]
    Short {
        /// The store.
        place: String,
        /// The object.
        name: String,
    },
    /// There is no such bucket.
    #[error("there is no bucket for {place}; create it, or correct the name, the region or the endpoint")]
    NoBucket {
        /// The store.
        place: String,
    },
    /// Wrong credentials, or too few rights.
    #[error(
        "{place} refuses access: {reason}; check the credentials ([s3] in the configuration, or AWS_* in \
         the environment) and that they may list, read, write and delete there"
    )]
    Refused {
        /// The store.
        place: String,
        /// What it says.
        reason: String,
    },
    /// Two writers could not be told apart.
    #[error(
        "{place} does not keep an object from being written twice (If-None-Match on PUT), so two runs could \
         overwrite each other's work; use a store that does, such as Amazon S3, MinIO or Ceph of today"
    )]
    Unconditional {
        /// The store.
        place: String,
    },
    /// Anything else, which may pass: no answer, a full disk, an overloaded server.
    #[error("{place} can't be read or written: {reason}")]
    Failed {
        /// The store.
        place: String,
        /// What it says.
        reason: String,
    },
}

/// What servers say to who may not, or is not known.
const REFUSALS: [&str; 7] = [
    "AccessDenied",
    "ExpiredToken",
    "Forbidden",
    "InvalidAccessKeyId",
    "InvalidToken",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
];

impl StoreError {
    /// From what the library says of a request for `name`.
    pub(super) fn new(place: &str, name: &str, error: &object_store::Error) -> Self {
        use object_store::Error;
        let place = place.to_owned();
        let reason = reason(error);
        match error {
            _ if reason.starts_with("NoSuchBucket") => Self::NoBucket { place },
            // Of a listing the library does not tell the status.
            _ if REFUSALS.iter().any(|code| reason.starts_with(code)) => Self::Refused { place, reason },
            _ if reason.starts_with("InvalidRange") => Self::Short { place, name: name.to_owned() },
            Error::NotFound { .. } => Self::Missing { place, name: name.to_owned() },
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Self::Refused { place, reason },
            _ => Self::Failed { place, reason },
        }
    }

    /// Whether another attempt can succeed with the same settings.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Directory { .. } | Self::Missing { .. })
    }
}

/// What a server or the system said, in a line. Of a server's answer only code and message: the rest
/// holds the request with its token.
fn reason(error: &object_store::Error) -> String {
    let whole = error.to_string();
    if let Some(code) = element(&whole, "Code") {
        return match element(&whole, "Message") {
            Some(message) => format!("{code}, {}", message.trim_end_matches('.')),
            None => code.to_owned(),
        };
    }
    // The deepest cause says it without addresses; the layers above repeat it.
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(|cause| cause.source()) {
        cause = Some(deeper);
    }
    cause.map_or(whole, ToString::to_string)
}

fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once(&format!("</{name}>")).map(|(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> object_store::Error {
        object_store::Error::PermissionDenied { path: "a".to_owned(), source: text.to_owned().into() }
    }

    #[test]
    fn of_an_answer_only_code_and_message_are_told() {
        let answer = "403: <Error><Code>SignatureDoesNotMatch</Code><Message>Check your key.</Message>\
                      <CanonicalRequest>x-amz-security-token:hush</CanonicalRequest></Error>";
        let error = StoreError::new("s3://ads", "a", &said(answer));
        let told = error.to_string();
        assert!(
            told.starts_with("s3://ads refuses access: SignatureDoesNotMatch, Check your key; "),
            "{told}"
        );
        assert!(!told.contains("hush") && !error.may_pass(), "{told}");
        let error = StoreError::new("s3://ads", "a", &said("<Code>NoSuchBucket</Code>"));
        assert!(matches!(error, StoreError::NoBucket { .. }), "{error}");
    }
}
