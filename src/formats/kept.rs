//! Texts that keys don't hold, kept while decoding for who writes the events out again.
//!
//! A hashed id of a user or an auction has no dictionary, as no table shows it; the archive does.
//! Unless somebody asked for the texts, keeping costs a branch per id and no memory.

use std::ops::Range;

use dataflows::model::ids::{Id, Name, Packed};

/// What the keys of a batch of events stood for.
#[derive(Debug, Default)]
pub struct Kept {
    on: bool,
    bytes: String,
    ids: Vec<(Id, Range<usize>)>,
    names: Vec<(Name, Range<usize>)>,
    bid_users: Vec<Id>,
}

impl Kept {
    /// Keeps texts from now on.
    pub fn start(&mut self) {
        self.on = true;
    }

    /// The key of an id.
    pub fn id(&mut self, text: &str) -> Id {
        let id = Id::new(text);
        self.note(id, text);
        id
    }

    /// Notes what an id stands for.
    pub fn note(&mut self, id: Id, text: &str) {
        if self.on && id.packed() == Packed::Hashed {
            let place = self.push(text);
            self.ids.push((id, place));
        }
    }

    /// The key of a name that has no dictionary.
    pub fn name(&mut self, text: &str) -> Name {
        let name = Name::new(text);
        if self.on && name.packed() == Packed::Hashed {
            let place = self.push(text);
            self.names.push((name, place));
        }
        name
    }

    /// Notes the user of the next bid, which the bid itself doesn't hold.
    pub fn bid_user(&mut self, text: &str) {
        if self.on {
            let user = self.id(text);
            self.bid_users.push(user);
        }
    }

    /// Forgets the users behind the first `bids` bids.
    pub fn truncate_bids(&mut self, bids: usize) {
        self.bid_users.truncate(bids);
    }

    /// The user of each bid of the batch; nothing unless texts are kept.
    pub fn bid_users(&self) -> &[Id] {
        &self.bid_users
    }

    /// Every hashed id and its text; one may come many times.
    pub fn ids(&self) -> impl Iterator<Item = (Id, &str)> {
        self.ids.iter().map(|(id, place)| (*id, &self.bytes[place.clone()]))
    }

    /// Every hashed name without a dictionary, and its text.
    pub fn names(&self) -> impl Iterator<Item = (Name, &str)> {
        self.names.iter().map(|(name, place)| (*name, &self.bytes[place.clone()]))
    }

    /// How much memory the texts take, about.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&*self.ids) + size_of_val(&*self.names) + size_of_val(&*self.bid_users)
    }

    /// Adds what another batch kept.
    pub fn append(&mut self, other: &Kept) {
        let at = self.bytes.len();
        let moved = |place: &Range<usize>| place.start + at..place.end + at;
        self.bytes.push_str(&other.bytes);
        self.ids.extend(other.ids.iter().map(|(id, place)| (*id, moved(place))));
        self.names.extend(other.names.iter().map(|(name, place)| (*name, moved(place))));
        self.bid_users.extend(&other.bid_users);
    }

    /// Forgets everything but whether texts are kept.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ids.clear();
        self.names.clear();
        self.bid_users.clear();
    }

    fn push(&mut self, text: &str) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.push_str(text);
        start..self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_keys_do_not_hold_is_kept_and_only_when_asked_for() {
        let (short, long, kind) = ("u1", "a-user-whose-id-is-long", "newsletter-subscription");
        let mut kept = Kept::default();
        assert_eq!((kept.id(long), kept.name(kind)), (Id::new(long), Name::new(kind)));
        kept.bid_user(long);
        assert_eq!(kept.bytes(), 0);
        kept.start();
        assert_eq!((kept.id(short), kept.id(long), kept.name(kind)), {
            (Id::new(short), Id::new(long), Name::new(kind))
        });
        kept.bid_user(short);
        let mut all = Kept::default();
        all.append(&kept);
        all.append(&kept);
        assert_eq!(all.ids().collect::<Vec<_>>(), [(Id::new(long), long); 2]);
        assert_eq!(all.names().collect::<Vec<_>>(), [(Name::new(kind), kind); 2]);
        assert_eq!(all.bid_users(), [Id::new(short); 2]);
        kept.clear();
        assert_eq!((kept.bytes(), kept.id(long)), (0, Id::new(long)));
        assert_eq!(kept.ids().count(), 1, "clearing does not end it");
    }
}
