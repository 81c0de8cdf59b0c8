//! What was worked out for somebody is told to all who ask the same, for as long as it is what is true.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::reply::Refused;
use crate::serve::groups::Groups;
use crate::serve::query::Query;
use crate::serve::store::Frontier;

/// Questions whose answers are kept.
const QUESTIONS_MAX: usize = 256;
/// Larger answers are not.
const GROUPS_MAX: usize = 10_000;

/// The groups of a question, and what they are true at.
pub type Answer = (Arc<Groups>, Frontier);

/// Held while the answer is worked out: who asks the same meanwhile waits for it.
type Place = Arc<Mutex<Option<Answer>>>;

/// The latest answers.
#[derive(Default)]
pub struct Recent(Mutex<HashMap<Query, Place>>);

impl Recent {
    /// The answer to a question: the one that is there, if it is `true_still`, or a new one.
    ///
    /// # Errors
    /// There is no answer.
    pub fn answer(
        &self,
        query: &Query,
        true_still: impl FnOnce(&Frontier) -> bool,
        work_out: impl FnOnce() -> Result<(Groups, Frontier), Refused>,
    ) -> Result<Answer, Refused> {
        let place = self.place(query);
        let mut known = place.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((groups, frontier)) = &*known
            && true_still(frontier)
        {
            return Ok((Arc::clone(groups), *frontier));
        }
        let (groups, frontier) = work_out()?;
        let answer = (Arc::new(groups), frontier);
        *known = (answer.0.len() <= GROUPS_MAX).then(|| answer.clone());
        Ok(answer)
    }

    fn place(&self, query: &Query) -> Place {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= QUESTIONS_MAX && !places.contains_key(query) {
            // They are soon old.
            places.clear();
        }
        Arc::clone(places.entry(query.clone()).or_default())
    }
}
