//! Where something is kept, as it is written in settings and arguments.

use std::fmt;
use std::path::{Path, PathBuf};

/// A directory, or a part of a bucket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// A directory of this machine.
    Directory(PathBuf),
    /// All objects of a bucket whose names start with a prefix.
    Bucket {
        /// The bucket.
        bucket: String,
        /// The prefix, without a slash at its ends; may be empty.
        prefix: String,
    },
}

/// Why a text is no place.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PlaceError {
    /// Nothing was said.
    #[error("a directory or s3://bucket/prefix is expected")]
    Empty,
    /// Another kind of store.
    #[error("only directories and s3://bucket/prefix are known, not {scheme}://")]
    Scheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// The bucket.
    #[error("{bucket:?} is no bucket: 3 to 63 lower-case letters, digits, dots and hyphens are expected")]
    Bucket {
        /// What was given.
        bucket: String,
    },
    /// The prefix.
    #[error(
        "{prefix:?} is no prefix: parts of letters, digits and -_.=+ are expected, with one slash between them"
    )]
    Prefix {
        /// What was given.
        prefix: String,
    },
}

impl Place {
    /// Reads a place: `s3://bucket/prefix`, or a directory's path.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        match text.split_once("://") {
            None if text.is_empty() => Err(PlaceError::Empty),
            None => Ok(Self::Directory(text.into())),
            Some(("s3", rest)) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
                if !is_bucket(bucket) {
                    return Err(PlaceError::Bucket { bucket: bucket.to_owned() });
                }
                if !(prefix.is_empty() || prefix.split('/').all(is_part)) {
                    return Err(PlaceError::Prefix { prefix: prefix.to_owned() });
                }
                Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() })
            }
            Some((scheme, _)) => Err(PlaceError::Scheme { scheme: scheme.to_owned() }),
        }
    }

    /// The place `name` in this one.
    #[must_use]
    pub fn join(&self, name: &str) -> Self {
        match self {
            Self::Directory(path) => Self::Directory(path.join(name)),
            Self::Bucket { bucket, prefix } => {
                let slash = if prefix.is_empty() { "" } else { "/" };
                Self::Bucket { bucket: bucket.clone(), prefix: format!("{prefix}{slash}{name}") }
            }
        }
    }

    /// Whether `other` is this place, or lies in it, by their names.
    pub fn holds(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Directory(path), Self::Directory(other)) => other.starts_with(path),
            (
                Self::Bucket { bucket, prefix },
                Self::Bucket { bucket: other_bucket, prefix: other_prefix },
            ) => bucket == other_bucket && Path::new(other_prefix).starts_with(prefix),
            _ => false,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => path.display().fmt(f),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

fn is_bucket(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (3..=63).contains(&name.len())
        && name.bytes().all(|byte| plain(byte) || matches!(byte, b'.' | b'-'))
        && name.bytes().next().is_some_and(plain)
        && name.bytes().next_back().is_some_and(plain)
}

/// Characters that every store takes as they are, in names that mean nothing special.
fn is_part(part: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.=+".contains(&byte);
    !matches!(part, "" | "." | "..") && part.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_and_buckets_are_told_apart() {
        let bucket = |prefix: &str| Place::Bucket { bucket: "ads".to_owned(), prefix: prefix.to_owned() };
        assert_eq!(Place::parse("s3://ads"), Ok(bucket("")));
        assert_eq!(Place::parse("s3://ads/"), Ok(bucket("")));
        assert_eq!(Place::parse("s3://ads/live/eu/"), Ok(bucket("live/eu")));
        assert_eq!(Place::parse("/var/lib/ads"), Ok(Place::Directory("/var/lib/ads".into())));
        for text in ["s3://ads", "s3://ads/live/eu", "/var/lib/ads", "relative"] {
            assert_eq!(Place::parse(text).expect("a place").to_string(), text);
        }
        assert_eq!(bucket("").join("a"), bucket("a"));
        assert_eq!(bucket("a").join("b"), bucket("a/b"));
        assert_eq!(Place::Directory("a".into()).join("b"), Place::Directory("a/b".into()));
    }

    #[test]
    fn a_place_holds_what_lies_below_it() {
        let holds = |place: &str, other: &str| {
            let [place, other] = [place, other].map(|text| Place::parse(text).expect("a place"));
            place.holds(&other)
        };
        for (place, inside) in [("s3://ads/a", "s3://ads/a/b"), ("s3://ads", "s3://ads/a"), ("a/", "a/b/c")] {
            assert!(holds(place, inside) && holds(place, place) && !holds(inside, place), "{place} {inside}");
        }
        for (place, other) in
            [("s3://ads/a", "s3://ads/ab"), ("s3://ads/a", "s3://bids/a"), ("a", "s3://ads/a")]
        {
            assert!(!holds(place, other) && !holds(other, place), "{place} {other}");
        }
    }

    #[test]
    fn what_is_no_place_is_told_why() {
        assert_eq!(Place::parse(""), Err(PlaceError::Empty));
        assert_eq!(Place::parse("gs://ads"), Err(PlaceError::Scheme { scheme: "gs".to_owned() }));
        for bucket in ["", "ab", "Ads", "-ads", "ads.", "a_b", &"a".repeat(64)] {
            let error = Place::parse(&format!("s3://{bucket}/live")).expect_err(bucket);
            assert!(matches!(error, PlaceError::Bucket { .. }), "{error}");
        }
        for prefix in ["//", "a//b", "../x", "a/./b", "a b", "a?b", "ä"] {
            let error = Place::parse(&format!("s3://ads/{prefix}")).expect_err(prefix);
            assert!(matches!(error, PlaceError::Prefix { .. }), "{prefix}: {error}");
        }
    }
}
