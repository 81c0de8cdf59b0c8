//! Bad records: each breaks exactly one rule, and the n-th of a feed breaks the n-th rule that the
//! feed can break, in turn. A later turn breaks it in another way.

use dataflows::model::reject::Reason;

use super::super::text::{push_number, push_rfc3339};
use super::avro::Request;

/// Longer than any id may be.
const LONG: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-129";

/// Templates by reason. `#` stands for a number of its own, `@` for milliseconds, `~` for RFC 3339,
/// `$` for a text that is too long.
type Templates = [(Reason, &'static [&'static str]); 7];

const IMPRESSIONS: Templates = [
    (
        Reason::Malformed,
        &[r#"{"impression_id":"x#","auction_id":"a","#, "[]", "null", "not json at all", r#""x#""#],
    ),
    (
        Reason::MissingField,
        &[
            r#"{"auction_id":"x#","timestamp":"~","user_id":"u","campaign_id":"c1","win_price_cpm":1}"#,
            r#"{"impression_id":"x#","auction_id":"x#","timestamp":@,"user_id":null,"campaign_id":"c1","win_price_cpm":1}"#,
            r#"{"impression_id":"x#","auction_id":"x#","timestamp":@,"user_id":"u","campaign_id":"","win_price_cpm":1}"#,
            r#"{"impression_id":"x#","auction_id":"x#","timestamp":@,"user_id":"u","campaign_id":"c1"}"#,
        ],
    ),
    (
        Reason::BadTimestamp,
        &[
            r#"{"impression_id":"x#","auction_id":"x#","timestamp":"yesterday","user_id":"u","campaign_id":"c1","win_price_cpm":1}"#,
            r#"{"impression_id":"x#","auction_id":"x#","timestamp":"2026-13-41T00:00:00Z","user_id":"u","campaign_id":"c1","win_price_cpm":1}"#,
        ],
    ),
    (
        Reason::BadNumber,
        &[
            r#"{"impression_id":"x#","auction_id":"x#","timestamp":@,"user_id":"u","campaign_id":"c1","win_price_cpm":"abc"}"#,
            r#"{"impression_id":"x#","auction_id":"x#","timestamp":@,"user_id":"u","campaign_id":"c1","win_price_cpm":1e300}"#,
        ],
    ),
    (
        Reason::NegativeMoney,
        &[
            r#"{"impression_id":"x#","auction_id":"x#","timestamp":@,"user_id":"u","campaign_id":"c1","win_price_cpm":-1}"#,
            r#"{"impression_id":"x#","auction_id":"x#","timestamp":"~","user_id":"u","campaign_id":"c1","win_price_cpm":-0.005}"#,
        ],
    ),
    (
        Reason::BadEnum,
        &[
            r#"{"impression_id":"x#","auction_id":"x#","timestamp":@,"user_id":"u","campaign_id":"c1","device":"fridge","win_price_cpm":1}"#,
        ],
    ),
    (
        Reason::TooLong,
        &[
            r#"{"impression_id":"x#-$","auction_id":"x#","timestamp":@,"user_id":"u","campaign_id":"c1","win_price_cpm":1}"#,
            r#"{"impression_id":"x#","auction_id":"x#","timestamp":@,"user_id":"$","campaign_id":"c1","win_price_cpm":1}"#,
        ],
    ),
];

const EVENTS: Templates = [
    (Reason::Malformed, &["click,x#,~", "conversion,x#,~,u,,,adv1,purchase,1,,,", "no commas at all"]),
    (
        Reason::MissingField,
        &[
            "click,,~,,i,,,,",
            "click,x#,~,,,,,,",
            "conversion,x#,~,,,,adv1,purchase,3",
            "conversion,x#,~,u,,,,purchase,3",
            "click,x#,,,i,,,,",
        ],
    ),
    (
        Reason::BadTimestamp,
        &["click,x#,31/03/2026,,i,,,,", "conversion,x#,2026-02-30T00:00:00Z,u,,,adv1,signup,"],
    ),
    (
        Reason::BadNumber,
        &[
            r#"conversion,x#,~,u,,,adv1,purchase,"12,5x""#,
            "conversion,x#,~,u,,,adv1,purchase,many",
            "conversion,x#,~,u,,,adv1,purchase,99999999999999999999",
        ],
    ),
    (
        Reason::NegativeMoney,
        &["conversion,x#,~,u,,,adv1,purchase,-3", "conversion,x#,~,u,,,adv1,purchase,-0.01"],
    ),
    (Reason::BadEnum, &["tap,x#,~,,i,,,,", "CLICK!,x#,~,u,i,,,,"]),
    (Reason::TooLong, &["click,x#-$,~,,i,,,,", "conversion,x#,~,$,,,adv1,purchase,1"]),
];

/// Appends the `nth` bad impression, of a moment, and says what is wrong with it.
pub(super) fn impression(out: &mut String, nth: u32, now: i64) -> Reason {
    push(out, &IMPRESSIONS, nth, now)
}

/// Appends the `nth` bad click or conversion.
pub(super) fn event(out: &mut String, nth: u32, now: i64) -> Reason {
    push(out, &EVENTS, nth, now)
}

fn push(out: &mut String, templates: &Templates, nth: u32, now: i64) -> Reason {
    let (turn, which) = (nth as usize / templates.len(), nth as usize % templates.len());
    let (reason, ways) = templates[which];
    for mark in ways[turn % ways.len()].chars() {
        match mark {
            '#' => push_number(out, nth.into()),
            '@' => push_number(out, now as u64),
            '~' => push_rfc3339(out, now, 0),
            '$' => out.push_str(LONG),
            other => out.push(other),
        }
    }
    reason
}

/// The `nth` bad bid request. Its other bid is good, and has to go down with it. A container can't
/// hold a malformed datum without losing its neighbours, so there is none.
pub(super) fn request(nth: u32, now: i64) -> (Request<'static>, Reason) {
    let good = Request {
        auction_id: "x-bad",
        ts: now,
        user_id: "u",
        site: "site1",
        country: "US",
        device: "mobile",
        bids: &[("c1", "cr10", 1.5), ("c2", "cr20", 2.5)],
    };
    let second_way = nth / 6 % 2 == 1;
    match (nth % 6, second_way) {
        (0, false) => {
            (Request { bids: &[("c1", "cr10", 1.5), ("", "cr20", 2.5)], ..good }, Reason::MissingField)
        }
        (0, true) => (Request { auction_id: "", ..good }, Reason::MissingField),
        (1, false) => (Request { ts: -1, ..good }, Reason::BadTimestamp),
        (1, true) => (Request { ts: i64::MAX, ..good }, Reason::BadTimestamp),
        (2, false) => {
            (Request { bids: &[("c1", "cr10", 1.5), ("c2", "cr20", f64::NAN)], ..good }, Reason::BadNumber)
        }
        (2, true) => (
            Request { bids: &[("c1", "cr10", f64::INFINITY), ("c2", "cr20", 2.5)], ..good },
            Reason::BadNumber,
        ),
        (3, _) => {
            (Request { bids: &[("c1", "cr10", 1.5), ("c2", "cr20", -2.5)], ..good }, Reason::NegativeMoney)
        }
        (4, _) => (Request { device: "fridge", ..good }, Reason::BadEnum),
        (_, false) => (Request { auction_id: LONG, ..good }, Reason::TooLong),
        (_, true) => (Request { bids: &[("c1", "cr10", 1.5), (LONG, "cr20", 2.5)], ..good }, Reason::TooLong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_too_long_for_an_id() {
        assert!(LONG.len() > 128);
    }

    #[test]
    fn every_reason_of_a_feed_has_its_turn() {
        for (templates, count) in [(&IMPRESSIONS, 7), (&EVENTS, 7)] {
            let mut reasons: Vec<Reason> =
                (0..7).map(|nth| push(&mut String::new(), templates, nth, 0)).collect();
            reasons.sort();
            reasons.dedup();
            assert_eq!(reasons.len(), count);
        }
        assert_eq!((0..6).map(|nth| request(nth, 0).1).collect::<std::collections::BTreeSet<_>>().len(), 6);
    }
}
