//! Clicks and conversions as CSV. No text of ours needs quoting.

use super::super::event::{Click, Conversion};
use super::super::text::{Ids, Kind, push_numbered, push_rfc3339};
use super::super::traffic::{push_clicked, push_value};
use super::super::world::conversion_text;

/// The columns.
pub(super) const HEADER: &str =
    "event_type,event_id,timestamp,user_id,impression_id,campaign_id,advertiser_id,conversion_type,value";

/// Appends a click.
pub(super) fn push_click(out: &mut String, ids: &Ids, click: &Click) {
    out.push_str("click,");
    ids.push(out, Kind::Click, click.n);
    out.push(',');
    push_rfc3339(out, click.ts, 0);
    out.push_str(",,");
    push_clicked(out, ids, click.on);
    out.push_str(",,,,");
}

/// Appends a conversion.
pub(super) fn push_conversion(out: &mut String, ids: &Ids, conversion: &Conversion) {
    out.push_str("conversion,");
    ids.push(out, Kind::Conversion, conversion.n);
    out.push(',');
    push_rfc3339(out, conversion.ts, 0);
    out.push(',');
    ids.push(out, Kind::User, conversion.user.into());
    push_numbered(out, ",,,adv", conversion.advertiser.into());
    out.push(',');
    out.push_str(conversion_text(conversion.kind));
    out.push(',');
    push_value(out, conversion.value);
}
