//! What the numbers must be: every table recomputed from scratch, from the records that are
//! live, by plain code that shares nothing with the dataflow but the types.

pub mod aging;
mod attribution;
pub mod bulk;
pub mod coverage;
pub mod generate;
mod golden;
mod lookups;
pub mod passing;
pub mod run;
pub mod tables;
mod traffic;

use std::collections::BTreeMap;
use std::ops::Range;

use dataflows::graphs::residue::Residue;
use dataflows::model::events::{Bid, Click, Conversion, Impression};
use dataflows::model::ids::Id;
use dataflows::model::lookups::LookupRow;
use dataflows::model::reject::QualityKey;
use dataflows::model::time::EventTime;

use attribution::attribute;
use coverage::{Case, Coverage};
use lookups::Lookups;
use tables::Tables;
use traffic::{Accepted, Traffic};

/// The seeds to run: those given, unless the environment names one by `ADVERTISEX_SEED`.
pub fn seeds(all: Range<u64>) -> Range<u64> {
    match std::env::var("ADVERTISEX_SEED") {
        Ok(seed) => {
            let seed: u64 = seed.parse().expect("ADVERTISEX_SEED is a whole number");
            seed..seed + 1
        }
        Err(_) => all,
    }
}

/// Anything that can be given to the job.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum Record {
    Bid(Id, Bid),
    Impression(Id, Impression),
    Click(Id, Click),
    Conversion(Id, Conversion),
    Quality(QualityKey),
    Lookup(LookupRow),
    Residue(Residue),
}

impl Record {
    /// The time of an event, or the minute of a count.
    pub fn ts(&self) -> Option<EventTime> {
        match self {
            Record::Bid(_, bid) => Some(bid.ts),
            Record::Impression(_, impression) => Some(impression.ts),
            Record::Click(_, click) => Some(click.ts),
            Record::Conversion(_, conversion) => Some(conversion.ts),
            Record::Quality(key) => EventTime::from_millis(key.minute.start_millis()),
            Record::Lookup(_) => None,
            Record::Residue(residue) => EventTime::from_millis(residue.start_millis()),
        }
    }
}

/// A record, and by how much its number of copies changes.
pub type Change = (Record, isize);

/// A multiset of records. A retraction may precede its insert, so a count may be negative; such
/// a record is simply not there.
#[derive(Clone, Debug, Default)]
pub struct State(BTreeMap<Record, isize>);

impl State {
    pub fn apply(&mut self, changes: &[Change]) {
        for &(record, diff) in changes {
            *self.0.entry(record).or_default() += diff;
        }
        self.0.retain(|_, copies| *copies != 0);
    }

    /// The records that are there, with their number of copies.
    pub fn present(&self) -> impl Iterator<Item = (Record, isize)> + '_ {
        self.0.iter().map(|(&record, &copies)| (record, copies)).filter(|&(_, copies)| copies > 0)
    }

    fn residues(&self) -> impl Iterator<Item = Residue> + '_ {
        self.present().flat_map(|(record, copies)| match record {
            Record::Residue(residue) => vec![residue; copies.unsigned_abs()],
            _ => Vec::new(),
        })
    }

    fn source_counts(&self) -> impl Iterator<Item = (QualityKey, isize)> + '_ {
        self.0.iter().filter_map(|(record, &count)| match record {
            Record::Quality(key) => Some((*key, count)),
            _ => None,
        })
    }
}

/// All tables, from the records that are live.
pub fn recompute(state: &State, coverage: &mut Coverage) -> Tables {
    coverage.saw(Case::AbsentByRetraction, state.0.values().any(|&copies| copies < 0));
    let mut tables = Tables::default();
    for (key, count) in state.source_counts() {
        tables.count(key.minute, key.feed, key.what, count);
    }
    let lookups = Lookups::of(state, coverage);
    let accepted = Accepted::of(state, &mut tables, coverage);
    let traffic = Traffic::of(&accepted, &lookups, &mut tables, coverage);
    traffic.publish(&accepted, &mut tables, coverage);
    attribute(&accepted, &traffic, &lookups, &mut tables, coverage);
    state.residues().for_each(|residue| tables.add_residue(residue));
    tables.without_zeros()
}
