//! Puts rows in the order of their keys: a window, names, and a number behind them.
//!
//! Texts are compared once for each name, not for each row: the names of the rows are ranked among
//! themselves, and a row is then ordered by one number of as many bits as are needed.

use dataflows::model::ids::Name;
use dataflows::sorting::sort;

use super::texts::Texts;
use crate::names::NameMap;

/// Bits of a number that tells which row it is of.
const POSITION_BITS: u32 = 32;

/// What a row is ordered by.
#[derive(Copy, Clone, Debug)]
pub struct Place<const N: usize> {
    /// The number of the window.
    pub window: u32,
    /// The names.
    pub names: [Name; N],
    /// What comes behind them.
    pub behind: u32,
}

/// The rows in the order of their places; all of these differ.
pub fn in_order<'a, R, const N: usize>(
    rows: Vec<&'a R>,
    texts: &Texts,
    place: impl Fn(&R) -> Place<N>,
) -> Vec<&'a R> {
    let mut columns = [(); N].map(|()| Column::default());
    let (mut windows, mut last) = ((u32::MAX, 0), 0);
    let mut numbers = Vec::with_capacity(rows.len());
    for row in &rows {
        let Place { window, names, behind } = place(row);
        windows = (windows.0.min(window), windows.1.max(window));
        last = last.max(behind);
        let mut at = columns.iter_mut().zip(names);
        numbers.push([(); N].map(|()| at.next().map_or(0, |(column, name)| column.number(name))));
    }
    let ranks = columns.map(|column| column.ranks(texts));
    let widths = ranks.each_ref().map(|ranks| bits(ranks.len().saturating_sub(1) as u32));
    let (first, behind) = (windows.0, bits(last));
    let all = bits(windows.1.saturating_sub(first)) + widths.iter().sum::<u32>() + behind;
    if all + POSITION_BITS > u128::BITS || rows.len() > u32::MAX as usize {
        return compared(rows, texts, place);
    }
    let mut entries: Vec<u128> = (0..)
        .zip(rows.iter().zip(&numbers))
        .map(|(position, (row, numbers))| {
            let place = place(row);
            let window = u128::from(place.window - first);
            let names = ranks.iter().zip(numbers).zip(widths);
            let lead = names.fold(window, |lead, ((ranks, number), width)| {
                lead << width | u128::from(ranks[*number as usize])
            });
            (lead << behind | u128::from(place.behind)) << POSITION_BITS | position
        })
        .collect();
    sort(&mut entries, u128::BITS - POSITION_BITS - all);
    entries.into_iter().map(|entry| rows[entry as u32 as usize]).collect()
}

/// The same, for any number of rows and names.
fn compared<'a, R, const N: usize>(
    mut rows: Vec<&'a R>,
    texts: &Texts,
    place: impl Fn(&R) -> Place<N>,
) -> Vec<&'a R> {
    rows.sort_by_cached_key(|row| {
        let Place { window, names, behind } = place(row);
        (window, names.map(|name| texts.rank(name)), behind)
    });
    rows
}

/// The names of a column, numbered as they come.
#[derive(Default)]
struct Column(NameMap<u32>);

impl Column {
    fn number(&mut self, name: Name) -> u32 {
        let next = self.0.len() as u32;
        *self.0.entry(name).or_insert(next)
    }

    /// The rank of each number's name.
    fn ranks(self, texts: &Texts) -> Vec<u32> {
        let mut names: Vec<_> = self.0.into_iter().map(|(name, number)| (texts.rank(name), number)).collect();
        names.sort_unstable();
        let mut ranks = vec![0; names.len()];
        (0..).zip(&names).for_each(|(rank, (_, number))| ranks[*number as usize] = rank);
        ranks
    }
}

/// How many bits a number up to this one has.
fn bits(greatest: u32) -> u32 {
    u32::BITS - greatest.leading_zeros()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::names::Names;

    #[test]
    fn rows_of_any_number_are_ordered_as_if_compared() {
        let names = Arc::new(Names::default());
        let text = |n: u64| format!("{}{n}", ["c", "a-long-campaign-name-"][(n % 2) as usize]);
        let known: Vec<Name> = (0..300).map(|n| names.name(&text(n)).expect("no collision")).collect();
        let texts = Texts::new(&names);
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut below = |bound: u64| {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            (random >> 33) % bound
        };
        for (len, windows, few) in [(0, 1, 1), (1, 1, 1), (700, 3, 300), (5_000, 1, 40), (20_000, 90, 300)] {
            let mut rows: Vec<Place<2>> = (0..len)
                .map(|_| Place {
                    window: 500_000 + below(windows) as u32,
                    names: [(); 2].map(|()| known[below(few) as usize]),
                    behind: below(1 << 20) as u32,
                })
                .collect();
            let key = |place: &Place<2>| (place.window, place.names, place.behind);
            rows.sort_by_key(key);
            rows.dedup_by_key(|place| key(place));
            let rows: Vec<&Place<2>> = rows.iter().collect();
            let found = in_order(rows.clone(), &texts, |place| *place);
            let expected = compared(rows, &texts, |place| *place);
            assert!(found.into_iter().map(key).eq(expected.into_iter().map(key)), "{len} rows");
        }
    }

    #[test]
    fn places_that_fit_no_number_are_ordered_too() {
        let names = Arc::new(Names::default());
        let texts = Texts::new(&names);
        let place =
            |window, n: u32| Place { window, names: [Name::new(&n.to_string()); 3], behind: u32::MAX - n };
        let rows: Vec<Place<3>> = (0..40_000).map(|n| place(n % 2 * u32::MAX, n)).collect();
        let found = in_order(rows.iter().collect(), &texts, |place| *place);
        let key = |place: &&Place<3>| (place.window, texts.rank(place.names[0]));
        assert!(found.len() == rows.len() && found.is_sorted_by_key(key));
    }
}
