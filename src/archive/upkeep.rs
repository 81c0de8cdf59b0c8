//! Keeping an archive in order: small files of an hour become one, old ones move and go.

use std::time::Duration;

use dataflows::model::time::Epoch;
use xxhash_rust::xxh3::xxh3_64;

use super::encode::Shape;
use super::error::ArchiveError;
use super::keeper::Keeper;
use super::manifest::{Entry, failed};
use super::merge::merge;

/// Files of one level of an hour that are merged while more may come.
const FAN: usize = 8;
/// Files merged at a time.
const AT_ONCE: usize = 32;
const HOUR: Duration = Duration::from_secs(3600);

/// When files are merged.
#[derive(Copy, Clone, Debug)]
pub struct Merging {
    /// Files are about this large at most.
    pub file_bytes_max: u64,
    /// The files of an hour become one when nothing came for it for this long.
    pub quiet: Duration,
    /// The shape of the files.
    pub shape: Shape,
}

/// What happens to files by their age, which is counted from the end of their hour.
#[derive(Copy, Clone, Debug, Default)]
pub struct Retention {
    /// Older ones are moved to the colder place.
    pub cold_after: Option<Duration>,
    /// Older ones are deleted.
    pub delete_after: Option<Duration>,
}

/// What a retention rule applies to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Aged {
    /// Files to be moved to the colder place.
    pub cool: Vec<Entry>,
    /// Files to be deleted.
    pub delete: Vec<Entry>,
}

impl Retention {
    /// The files that are too old at `now`, in milliseconds since 1970.
    pub fn aged(&self, files: &[Entry], now: Epoch) -> Aged {
        let end = |file: &Entry| (u64::from(file.hour) + 1) * HOUR.as_millis() as u64;
        let older = |file: &Entry, than: Option<Duration>| {
            than.is_some_and(|than| end(file).saturating_add(than.as_millis() as u64) <= now)
        };
        let mut aged = Aged::default();
        for file in files {
            if older(file, self.delete_after) {
                aged.delete.push(file.clone());
            } else if !file.cold && older(file, self.cold_after) {
                aged.cool.push(file.clone());
            }
        }
        aged
    }
}

impl Keeper {
    /// Merges some files of one hour, if there are any to be merged; returns whether there were.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn merge_some(&mut self, merging: Merging) -> Result<bool, ArchiveError> {
        let Some(chosen) = choose(&self.current.files, self.current.epoch, merging) else { return Ok(false) };
        let files = chosen.iter().map(|entry| self.read(entry)).collect::<Result<Vec<_>, _>>()?;
        let (kind, hour) = (chosen[0].kind, chosen[0].hour());
        let name = self.name(kind, hour);
        let bytes = merge(kind, files, merging.shape).map_err(|source| ArchiveError::Parquet {
            place: self.store.place().to_owned(),
            name: format!("{} or one merged with it", chosen[0].name),
            source,
        })?;
        let entry = Entry {
            name: name.clone(),
            kind,
            hour: hour.0,
            rows: chosen.iter().map(|entry| entry.rows).sum(),
            bytes: bytes.len() as u64,
            min_ts: chosen.iter().map(|entry| entry.min_ts).min().unwrap_or_default(),
            max_ts: chosen.iter().map(|entry| entry.max_ts).max().unwrap_or_default(),
            epoch: chosen.iter().map(|entry| entry.epoch).max().unwrap_or_default(),
            checksum: xxh3_64(&bytes),
            level: chosen.iter().map(|entry| entry.level).max().unwrap_or_default().saturating_add(1),
            cold: false,
        };
        self.write(&name, bytes)?;
        let mut next = self.current.clone();
        next.files.retain(|file| !chosen.iter().any(|chosen| chosen.name == file.name));
        next.files.push(entry);
        self.commit(next)?;
        Ok(true)
    }

    /// Moves and deletes what is too old at `now`. A file is copied before a manifest says where it
    /// is, and removed only after: a crash in between leaves a copy too many, which the next start
    /// removes, and never one too few.
    ///
    /// # Errors
    /// See [`ArchiveError`].
    pub fn retain(&mut self, retention: Retention, now: Epoch) -> Result<Aged, ArchiveError> {
        let mut aged = retention.aged(&self.current.files, now);
        let Some(cold) = self.cold.clone() else {
            aged.cool.clear();
            return self.apply(aged);
        };
        for entry in &aged.cool {
            let bytes = self.read(entry)?;
            // It may have been copied before a crash; whole, as all that is written.
            cold.create(&entry.name, bytes).map_err(|source| failed(&cold, source))?;
        }
        self.apply(aged)
    }

    fn apply(&mut self, aged: Aged) -> Result<Aged, ArchiveError> {
        if aged == Aged::default() {
            return Ok(aged);
        }
        let is_among = |files: &[Entry], file: &Entry| files.iter().any(|other| other.name == file.name);
        let mut next = self.current.clone();
        next.files.retain(|file| !is_among(&aged.delete, file));
        for file in &mut next.files {
            file.cold |= is_among(&aged.cool, file);
        }
        self.commit(next)?;
        Ok(aged)
    }
}

/// Files of one kind and hour that should be one: many of one level, or all of an hour that has
/// been quiet.
fn choose(files: &[Entry], now: Epoch, merging: Merging) -> Option<Vec<Entry>> {
    // Files are in order of hour and kind.
    let groups = files.chunk_by(|a, b| (a.hour, a.kind) == (b.hour, b.kind));
    groups.filter(|group| group.len() > 1).find_map(|group| {
        let small = |file: &&Entry| !file.cold && file.bytes < merging.file_bytes_max / 2;
        let quiet_since = group.iter().map(|file| file.epoch).max().unwrap_or_default();
        let quiet = quiet_since.saturating_add(merging.quiet.as_millis() as u64) <= now;
        let some = |mut chosen: Vec<&Entry>, count: usize| {
            chosen.sort_by_key(|file| file.bytes);
            let mut bytes = 0;
            let fits = |file: &&&Entry| {
                bytes += file.bytes;
                bytes <= merging.file_bytes_max
            };
            let chosen: Vec<Entry> =
                chosen.iter().take(AT_ONCE).take_while(fits).map(|f| (*f).clone()).collect();
            (chosen.len() >= count).then_some(chosen)
        };
        if quiet {
            return some(group.iter().filter(small).collect(), 2);
        }
        let levels = group.iter().map(|file| file.level).max().unwrap_or_default();
        (0..=levels).find_map(|level| {
            some(group.iter().filter(small).filter(|file| file.level == level).collect(), FAN)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;

    const MERGING: Merging = Merging {
        file_bytes_max: 1000,
        quiet: Duration::from_millis(100),
        shape: Shape { row_group_rows: 10 },
    };

    fn file(hour: u32, number: u64, bytes: u64, level: u8, epoch: Epoch) -> Entry {
        let name = format!("bids-0-a-{number:06}.parquet");
        let (rows, checksum, cold, min_ts, max_ts) = (1, 0, false, 0, 0);
        Entry { name, kind: Kind::Bids, hour, rows, bytes, min_ts, max_ts, epoch, checksum, level, cold }
    }

    fn chosen(files: &[Entry], now: Epoch) -> Vec<u64> {
        let number = |file: Entry| file.name[9..15].parse().expect("a number");
        let mut numbers: Vec<u64> =
            choose(files, now, MERGING).unwrap_or_default().into_iter().map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn files_of_a_level_are_merged_by_eights_and_those_of_a_quiet_hour_all() {
        let mut files: Vec<Entry> = (0..7).map(|number| file(1, number, 10, 0, 1000)).collect();
        assert_eq!(chosen(&files, 1050), [0u64; 0], "more may come");
        assert_eq!(chosen(&files, 1100), [0, 1, 2, 3, 4, 5, 6], "it was quiet");
        files.push(file(1, 7, 20, 1, 1000));
        assert_eq!(chosen(&files, 1050), [0u64; 0], "of two levels");
        files.push(file(1, 8, 10, 0, 1000));
        assert_eq!(chosen(&files, 1050), [0, 1, 2, 3, 4, 5, 6, 8]);
        files.push(file(2, 9, 10, 0, 1000));
        files.push(file(2, 10, 600, 0, 1000));
        files.push(file(3, 11, 10, 0, 1000));
        assert_eq!(chosen(&files[9..], 9000), [0u64; 0], "one is large, and another alone");
        let large: Vec<Entry> = (0..4).map(|number| file(1, number, 400 + number, 0, 1000)).collect();
        assert_eq!(chosen(&large, 9000), [0, 1], "no more than fit");
    }

    #[test]
    fn age_counts_from_the_end_of_the_hour() {
        let files = [file(0, 0, 1, 0, 0), file(9, 1, 1, 0, 0), file(10, 2, 1, 0, 0)];
        let hours = |hours: u32| HOUR * hours;
        let rules = Retention { cold_after: Some(hours(2)), delete_after: Some(hours(10)) };
        let aged = rules.aged(&files, hours(12).as_millis() as u64);
        assert_eq!((aged.delete, aged.cool), (vec![files[0].clone()], vec![files[1].clone()]));
        assert_eq!(Retention::default().aged(&files, Epoch::MAX), Aged::default());
    }
}
