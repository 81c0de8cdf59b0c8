//! What is fuzzed: the readers of what we wrote ourselves, which may be damaged, and the decoders of
//! what others write. A target takes any bytes and must come to an end without a panic.
//!
//! ```text
//! tests/fuzz/run TARGET SECONDS     libFuzzer, guided by the coverage of our crates
//! cargo test -p advertisex-fuzz     seeds, findings and seeded mutations of both
//! ```
//!
//! Checksums would keep a fuzzer from all that stands behind them. So the targets of our own files
//! take their input twice: as the bytes of a file, and as contents that are sealed before.

mod formats;
mod own;
mod seeds;

use std::path::Path;

/// Something that takes bytes.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// Segments of checkpoints.
    Segment,
    /// Manifests of checkpoints.
    Manifest,
    /// The binding log.
    Bindings,
    /// Manifests of archives.
    Archive,
    /// JSON Lines.
    Json,
    /// CSV with a header.
    Csv,
    /// Avro container files.
    AvroFile,
    /// Bare Avro records.
    AvroDatum,
    /// Schemas, as a registry gives them.
    AvroSchema,
    /// Parquet files.
    Parquet,
    /// Rows of lookup topics.
    Lookup,
    /// Times, amounts and durations.
    Scalars,
}

impl Target {
    /// All there are.
    pub const ALL: [Target; 12] = [
        Target::Segment,
        Target::Manifest,
        Target::Bindings,
        Target::Archive,
        Target::Json,
        Target::Csv,
        Target::AvroFile,
        Target::AvroDatum,
        Target::AvroSchema,
        Target::Parquet,
        Target::Lookup,
        Target::Scalars,
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Target::Segment => "segment",
            Target::Manifest => "manifest",
            Target::Bindings => "bindings",
            Target::Archive => "archive",
            Target::Json => "json",
            Target::Csv => "csv",
            Target::AvroFile => "avro_file",
            Target::AvroDatum => "avro_datum",
            Target::AvroSchema => "avro_schema",
            Target::Parquet => "parquet",
            Target::Lookup => "lookup",
            Target::Scalars => "scalars",
        }
    }

    /// The target of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.name() == name)
    }

    /// Takes the bytes.
    ///
    /// # Panics
    /// That is what is looked for.
    pub fn take(self, bytes: &[u8]) {
        match self {
            Target::Segment => own::segment(bytes),
            Target::Manifest => own::manifest(bytes),
            Target::Bindings => own::bindings(bytes),
            Target::Archive => own::archive(bytes),
            Target::Json => formats::json(bytes),
            Target::Csv => formats::csv(bytes),
            Target::AvroFile => formats::avro_file(bytes),
            Target::AvroDatum => formats::avro_datum(bytes),
            Target::AvroSchema => formats::avro_schema(bytes),
            Target::Parquet => formats::parquet(bytes),
            Target::Lookup => formats::lookup(bytes),
            Target::Scalars => formats::scalars(bytes),
        }
    }

    /// Inputs to start from, mostly of the golden day.
    pub fn seeds(self) -> Vec<Vec<u8>> {
        seeds::of(self)
    }
}

/// The project's directory.
pub(crate) fn project() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
