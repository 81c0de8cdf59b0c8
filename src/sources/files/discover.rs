//! Which files of a directory are input.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dataflows::model::reject::Feed;

use super::{Compression, Contents, InputFile, SourceError};
use crate::config::SourcesConfig;
use crate::formats::parquet::Kind;
use crate::store::Address;

/// Finds the input below a directory, in the order of the paths.
pub fn discover(dir: &Path, config: &SourcesConfig) -> Result<Vec<InputFile>, SourceError> {
    let mut found = Vec::new();
    let mut visited = BTreeSet::new();
    walk(dir, &mut visited, &mut found)
        .map_err(|source| SourceError::Directory { dir: dir.to_owned(), source })?;
    found.sort();
    let kinds = kinds(config);
    let files: Vec<_> = found.into_iter().filter_map(|path| input(path, &kinds)).collect();
    if files.is_empty() {
        let patterns: Vec<_> = kinds.iter().flat_map(|(_, patterns)| patterns.iter().cloned()).collect();
        return Err(SourceError::Nothing { dir: dir.to_owned(), looked_for: patterns.join(", ") });
    }
    Ok(files)
}

fn kinds(config: &SourcesConfig) -> [(Contents, &[String]); 7] {
    [
        (Contents::Raw(Feed::Impressions), &config.impressions.files),
        (Contents::Raw(Feed::Events), &config.events.files),
        (Contents::Raw(Feed::BidRequests), &config.bid_requests.files),
        (Contents::Canonical(Kind::Bids), &config.history.bids),
        (Contents::Canonical(Kind::Impressions), &config.history.impressions),
        (Contents::Canonical(Kind::Clicks), &config.history.clicks),
        (Contents::Canonical(Kind::Conversions), &config.history.conversions),
    ]
}

/// Collects the files below `dir`. Directories are known by their real path, so that links that
/// lead back are harmless, and no file is found twice.
fn walk(dir: &Path, visited: &mut BTreeSet<PathBuf>, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    visited.insert(dir.canonicalize()?);
    let mut entries = std::fs::read_dir(dir)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        // A link to nothing is no input.
        let (Ok(meta), Ok(real)) = (std::fs::metadata(&path), path.canonicalize()) else { continue };
        if !visited.insert(real) {
            continue;
        }
        if meta.is_dir() {
            walk(&path, visited, found)?;
        } else if meta.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

fn input(path: PathBuf, kinds: &[(Contents, &[String])]) -> Option<InputFile> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let (plain, compression) = match name.rsplit_once('.') {
        Some((plain, "gz")) => (plain, Compression::Gzip),
        Some((plain, "zst")) => (plain, Compression::Zstd),
        _ => (&*name, Compression::None),
    };
    let matching = |contents: Contents, patterns: &[String]| {
        let seekable = matches!(contents, Contents::Canonical(_));
        patterns.iter().any(|pattern| matches(pattern, &name) || !seekable && matches(pattern, plain))
    };
    let (contents, _) = kinds.iter().find(|(contents, patterns)| matching(*contents, patterns))?;
    let bytes = std::fs::metadata(&path).map_or(0, |meta| meta.len());
    let (name, contents) = (path.to_string_lossy().into(), *contents);
    Some(InputFile { address: Address::File(path), name, bytes, contents, compression })
}

/// Whether a name fits a pattern in which `*` stands for any text.
pub fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(middle) = last.replace(part) {
            let Some(at) = rest.find(middle) else { return false };
            rest = &rest[at + middle.len()..];
        }
    }
    last.map_or(rest.is_empty(), |last| rest.ends_with(last))
}
