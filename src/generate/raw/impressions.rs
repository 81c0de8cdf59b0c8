//! Impressions as JSON Lines.

use super::super::dice::mix;
use super::super::event::{Impression, Viewable};
use super::super::text::{Ids, Kind, push_number, push_numbered, push_rfc3339};
use super::super::traffic::push_price;
use super::super::world::{country_text, device_text};

/// Appends an impression. No text of ours needs escaping.
pub(super) fn push(out: &mut String, ids: &Ids, shown: &Impression) {
    out.push_str(r#"{"impression_id":""#);
    ids.push(out, Kind::Impression, shown.n);
    out.push_str(r#"","auction_id":""#);
    ids.push(out, Kind::Auction, shown.auction);
    out.push_str(r#"","timestamp":"#);
    push_time(out, shown);
    out.push_str(r#","user_id":""#);
    ids.push(out, Kind::User, shown.user.into());
    push_numbered(out, r#"","campaign_id":"c"#, shown.campaign.into());
    push_numbered(out, r#"","creative_id":"cr"#, shown.creative.into());
    push_numbered(out, r#"","site":"site"#, shown.site.into());
    let country = country_text(shown.country);
    if !country.is_empty() {
        out.push_str(r#"","country":""#);
        out.push_str(country);
    }
    out.push_str(r#"","device":""#);
    out.push_str(device_text(shown.device));
    out.push_str(match shown.viewable {
        Viewable::Yes => r#"","viewable":true"#,
        Viewable::No => r#"","viewable":false"#,
        Viewable::Unmeasured => "\"",
    });
    out.push_str(r#","win_price_cpm":"#);
    push_price(out, shown.price);
    out.push('}');
}

/// A third of the ad servers send milliseconds, a few a zone other than UTC. Which one does is a
/// matter of the impression, so that a redelivery has the same bytes.
fn push_time(out: &mut String, shown: &Impression) {
    let style = mix(shown.n) % 100;
    if style < 33 {
        return push_number(out, shown.ts as u64);
    }
    out.push('"');
    push_rfc3339(out, shown.ts, if style < 36 { 2 } else { 0 });
    out.push('"');
}
