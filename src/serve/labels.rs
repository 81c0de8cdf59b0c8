//! What the values of key columns are called, and which advertiser a campaign belongs to.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use dataflows::model::events::{Country, Device};
use dataflows::model::ids::Name;
use dataflows::model::lookups::Model;
use dataflows::model::reject::Feed;

use super::shape::Kind;
use crate::formats::dimension::{Attributes, DIMENSIONS, Dimension};
use crate::names::Names;
use crate::sinks::clickhouse::Upsert;

/// The names of a run, and what is known of them.
#[derive(Debug)]
pub struct Labels {
    names: Arc<Names>,
    attributes: [HashMap<Name, Attributes>; DIMENSIONS],
    advertisers: HashMap<u64, Name>,
    ownership: u64,
    /// Texts that only ClickHouse knew: of names that this run has not read.
    heard: RwLock<HashMap<u64, Box<str>>>,
}

impl Labels {
    /// Those of a run that knows these names.
    pub fn new(names: Arc<Names>) -> Self {
        Self {
            names,
            attributes: Default::default(),
            advertisers: HashMap::new(),
            ownership: 0,
            heard: RwLock::default(),
        }
    }

    /// Takes changes in; returns the advertisers that have lost or won a campaign.
    pub fn apply(&mut self, changes: &[Vec<Upsert<Name, Attributes>>; DIMENSIONS]) -> BTreeSet<Name> {
        for (known, changes) in self.attributes.iter_mut().zip(changes) {
            for (id, attributes) in changes {
                match attributes {
                    Some(attributes) => _ = known.insert(*id, attributes.clone()),
                    None => _ = known.remove(id),
                }
            }
        }
        let mut moved = BTreeSet::new();
        for (campaign, attributes) in &changes[Dimension::Campaign as usize] {
            let before = self.advertiser(campaign.raw());
            match attributes {
                Some([advertiser, _]) => {
                    self.advertisers.insert(campaign.raw(), Name::new(advertiser));
                }
                None => _ = self.advertisers.remove(&campaign.raw()),
            }
            let after = self.advertiser(campaign.raw());
            if before != after {
                moved.extend([before, after]);
            }
        }
        self.ownership += u64::from(!moved.is_empty());
        moved
    }

    /// A number that is another one whenever a campaign has changed hands.
    pub fn ownership(&self) -> u64 {
        self.ownership
    }

    /// The advertiser of a campaign; of one that is not listed, the empty name.
    pub fn advertiser(&self, campaign: u64) -> Name {
        self.advertisers.get(&campaign).copied().unwrap_or(Name::EMPTY)
    }

    /// All ids of a dimension and their attributes, in order of the ids.
    pub fn listed(&self, dimension: Dimension) -> Vec<(Name, String, &Attributes)> {
        let listed = self.attributes[dimension as usize].iter();
        let mut listed: Vec<_> =
            listed.map(|(id, attributes)| (*id, self.names.name_text(*id), attributes)).collect();
        listed.sort_by(|(_, one, _), (_, other, _)| one.cmp(other));
        listed
    }

    /// The text of a value.
    pub fn text(&self, kind: Kind, value: u64) -> String {
        match kind {
            Kind::Named(_) => self.name(value),
            Kind::Country => Country::from_code(value as u16).as_str().to_owned(),
            Kind::Device => Device::ALL.get(value as usize).map_or("", |device| device.as_str()).to_owned(),
            Kind::Model => Model::ALL.get(value as usize).map_or("", |model| model.as_str()).to_owned(),
            Kind::Feed => Feed::ALL.get(value as usize).map_or("", |feed| feed.as_str()).to_owned(),
        }
    }

    fn name(&self, value: u64) -> String {
        let text = self.names.name_text(Name::from_raw(value));
        if !text.is_empty() || value == Name::EMPTY.raw() {
            return text;
        }
        let heard = self.heard.read().unwrap_or_else(PoisonError::into_inner);
        heard.get(&value).map(|text| text.to_string()).unwrap_or_default()
    }

    /// The value of a text that this run may not have read.
    pub fn hear(&self, text: &str) -> u64 {
        let value = Name::new(text).raw();
        if !text.is_empty() && self.name(value).is_empty() {
            self.heard.write().unwrap_or_else(PoisonError::into_inner).insert(value, text.into());
        }
        value
    }

    /// All campaigns that belong to an advertiser, with whom they belong to.
    pub fn campaigns(&self) -> impl Iterator<Item = (u64, Name)> {
        self.advertisers.iter().map(|(campaign, advertiser)| (*campaign, *advertiser))
    }

    /// The names of the run.
    pub fn names(&self) -> &Names {
        &self.names
    }
}

/// A text as rows have it that are let through by it.
pub fn canonical(kind: Kind, text: &str) -> Box<str> {
    match (kind, Country::parse(text)) {
        (Kind::Country, Some(country)) => country.as_str().into(),
        _ => text.into(),
    }
}

/// The value that a text stands for; none if it stands for nothing of this kind.
pub fn value(kind: Kind, text: &str) -> Option<u64> {
    match kind {
        Kind::Named(_) => Some(Name::new(text).raw()),
        Kind::Country => Country::parse(text).map(|country| country.code().into()),
        Kind::Device => Device::parse(text).map(|device| device as u64),
        Kind::Model => Model::parse(text).map(|model| model as u64),
        Kind::Feed => Feed::ALL.into_iter().find(|feed| feed.as_str() == text).map(|feed| feed as u64),
    }
}
