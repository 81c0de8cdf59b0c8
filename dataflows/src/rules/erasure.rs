//! Which records are those of users who are to be forgotten.
//!
//! Impressions and conversions name their user. A click is that of its impression, and a bid that of
//! its auction: what state keeps of both names no user.

use std::collections::HashSet;

use crate::model::events::{Bid, Click, Conversion, Impression};
use crate::model::ids::Id;

/// Users to be forgotten, and what is theirs as far as it is known.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// The users.
    pub users: HashSet<Id>,
    /// Impressions that were shown to them.
    pub impressions: HashSet<Id>,
    /// Auctions that were held for them.
    pub auctions: HashSet<Id>,
}

impl Subject {
    /// These users, of whom nothing else is known yet.
    pub fn new(users: impl IntoIterator<Item = Id>) -> Self {
        Self { users: users.into_iter().collect(), ..Self::default() }
    }

    /// Notes what an impression tells of its click's and its auction's user.
    pub fn learn(&mut self, id: Id, auction: Id, user: Id) {
        if self.users.contains(&user) {
            self.impressions.insert(id);
            self.auctions.insert(auction);
        }
    }
}

/// A record that may be somebody's.
pub trait Concerns {
    /// Whether it is that of one of the users.
    fn concerns(&self, subject: &Subject) -> bool;
}

impl Concerns for (Id, Bid) {
    fn concerns(&self, subject: &Subject) -> bool {
        subject.auctions.contains(&self.0)
    }
}

impl Concerns for (Id, Impression) {
    fn concerns(&self, subject: &Subject) -> bool {
        subject.users.contains(&self.1.user)
    }
}

impl Concerns for (Id, Click) {
    fn concerns(&self, subject: &Subject) -> bool {
        subject.impressions.contains(&self.1.impression)
    }
}

impl Concerns for (Id, Conversion) {
    fn concerns(&self, subject: &Subject) -> bool {
        subject.users.contains(&self.1.user)
    }
}
