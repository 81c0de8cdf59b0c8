//! Each table: from the typed key and measures that the graphs maintain to rows of text and
//! integers. The names' texts are looked up here and nowhere earlier.

use std::sync::Arc;

use clickhouse::{Row, RowOwned};
use dataflows::graphs::attribution::PathStep;
use dataflows::graphs::auctions::SupplyKey;
use dataflows::model::events::Placed;
use dataflows::model::ids::{Id, Name};
use dataflows::model::lookups::Model;
use dataflows::model::measures::{Credit, Measures, Reach, Supply};
use dataflows::model::reject::Feed;
use dataflows::model::time::{Day, Epoch, Hour, Minute};

use serde::Serialize;

use super::rows::*;
use super::upserts::Reject;
use crate::formats::dimension::Attributes;
use crate::names::Names;

/// A table that takes upserts.
pub trait Table {
    /// Its name in the database.
    const NAME: &'static str;
    /// What an upsert is about.
    type Key: Send + 'static;
    /// The state of the key; an upsert without one deletes the key.
    type Value: Send + 'static;
    /// A row.
    type Row: Row + RowOwned + Serialize;

    /// The rows of one upsert, as of `version`. Measures of a deleted key are zero.
    fn rows(
        key: &Self::Key,
        value: Option<&Self::Value>,
        version: Epoch,
        names: &Names,
        push: &mut dyn FnMut(Self::Row),
    );

    /// About how many bytes the rows of an upsert take; need not be exact, as it only decides
    /// where a large insert is cut.
    fn bytes(_key: &Self::Key, _value: Option<&Self::Value>) -> usize {
        2 * size_of::<Self::Row>()
    }
}

fn seconds(millis: i64) -> i64 {
    millis.div_euclid(1_000)
}

fn is_deleted<V>(value: Option<&V>) -> u8 {
    u8::from(value.is_none())
}

/// `performance_minute`.
#[derive(Debug)]
pub struct PerformanceMinute;

impl Table for PerformanceMinute {
    const NAME: &'static str = "performance_minute";
    type Key = (Minute, Name);
    type Value = Measures;
    type Row = PerformanceMinuteRow;

    fn rows(
        (minute, campaign): &Self::Key,
        value: Option<&Measures>,
        version: Epoch,
        names: &Names,
        push: &mut dyn FnMut(Self::Row),
    ) {
        let m = value.copied().unwrap_or_default();
        push(PerformanceMinuteRow {
            minute: seconds(minute.start_millis()),
            campaign_id: names.name_text(*campaign),
            bids: m.bids.into(),
            wins: m.wins.into(),
            impressions: m.impressions.into(),
            viewable: m.viewable.into(),
            clicks: m.clicks.into(),
            conversions: m.conversions.into(),
            spend_micros: m.spend_micros,
            revenue_micros: m.revenue_micros,
            bid_micros: m.bid_micros,
            version,
            is_deleted: is_deleted(value),
        });
    }
}

/// `performance_hour`.
#[derive(Debug)]
pub struct PerformanceHour;

impl Table for PerformanceHour {
    const NAME: &'static str = "performance_hour";
    type Key = Placed<Hour>;
    type Value = Measures;
    type Row = PerformanceHourRow;

    fn rows(
        place: &Self::Key,
        value: Option<&Measures>,
        version: Epoch,
        names: &Names,
        push: &mut dyn FnMut(Self::Row),
    ) {
        let m = value.copied().unwrap_or_default();
        push(PerformanceHourRow {
            hour: seconds(place.window.start_millis()),
            campaign_id: names.name_text(place.campaign),
            creative_id: names.name_text(place.creative),
            site: names.name_text(place.site),
            country: place.country.as_str().to_owned(),
            device: place.device.as_str(),
            bids: m.bids.into(),
            wins: m.wins.into(),
            impressions: m.impressions.into(),
            viewable: m.viewable.into(),
            clicks: m.clicks.into(),
            conversions: m.conversions.into(),
            spend_micros: m.spend_micros,
            revenue_micros: m.revenue_micros,
            bid_micros: m.bid_micros,
            version,
            is_deleted: is_deleted(value),
        });
    }
}

/// `attribution_hour`.
#[derive(Debug)]
pub struct AttributionHour;

impl Table for AttributionHour {
    const NAME: &'static str = "attribution_hour";
    type Key = ((Hour, Name), Model);
    type Value = Credit;
    type Row = AttributionHourRow;

    fn rows(
        ((hour, campaign), model): &Self::Key,
        value: Option<&Credit>,
        version: Epoch,
        names: &Names,
        push: &mut dyn FnMut(Self::Row),
    ) {
        let Credit { credit_micros, revenue_micros } = value.copied().unwrap_or_default();
        push(AttributionHourRow {
            hour: seconds(hour.start_millis()),
            campaign_id: names.name_text(*campaign),
            model: model.as_str(),
            credit_micros,
            revenue_micros,
            version,
            is_deleted: is_deleted(value),
        });
    }
}

/// `reach_day`.
#[derive(Debug)]
pub struct ReachDay;

impl Table for ReachDay {
    const NAME: &'static str = "reach_day";
    type Key = (Day, Name);
    type Value = Reach;
    type Row = ReachDayRow;

    fn rows(
        (day, campaign): &Self::Key,
        value: Option<&Reach>,
        version: Epoch,
        names: &Names,
        push: &mut dyn FnMut(Self::Row),
    ) {
        let Reach { users, impressions } = value.copied().unwrap_or_default();
        push(ReachDayRow {
            day: seconds(day.start_millis()),
            campaign_id: names.name_text(*campaign),
            users,
            impressions,
            version,
            is_deleted: is_deleted(value),
        });
    }
}

/// `supply_hour`.
#[derive(Debug)]
pub struct SupplyHour;

impl Table for SupplyHour {
    const NAME: &'static str = "supply_hour";
    type Key = SupplyKey;
    type Value = Supply;
    type Row = SupplyHourRow;

    fn rows(
        key: &Self::Key,
        value: Option<&Supply>,
        version: Epoch,
        names: &Names,
        push: &mut dyn FnMut(Self::Row),
    ) {
        let Supply { bid_requests, bids, wins } = value.copied().unwrap_or_default();
        push(SupplyHourRow {
            hour: seconds(key.hour.start_millis()),
            site: names.name_text(key.site),
            country: key.country.as_str().to_owned(),
            device: key.device.as_str(),
            bid_requests,
            bids,
            wins,
            version,
            is_deleted: is_deleted(value),
        });
    }
}

/// `quality_minute`: all counts of a feed's minute, in the order of
/// [`QualityMinute::COUNTS`](crate::sinks::tables::QualityMinute::COUNTS).
#[derive(Debug)]
pub struct QualityMinute;

impl Table for QualityMinute {
    const NAME: &'static str = "quality_minute";
    type Key = (Minute, Feed);
    type Value = [i64; 14];
    type Row = QualityMinuteRow;

    fn rows(
        (minute, feed): &Self::Key,
        value: Option<&[i64; 14]>,
        version: Epoch,
        _: &Names,
        push: &mut dyn FnMut(Self::Row),
    ) {
        let c = value.copied().unwrap_or_default();
        push(QualityMinuteRow {
            minute: seconds(minute.start_millis()),
            feed: feed.as_str(),
            received: c[0],
            accepted: c[1],
            duplicate: c[2],
            rejected_malformed: c[3],
            rejected_missing_field: c[4],
            rejected_bad_timestamp: c[5],
            rejected_bad_number: c[6],
            rejected_negative_money: c[7],
            rejected_bad_enum: c[8],
            rejected_too_long: c[9],
            rejected_future: c[10],
            rejected_too_late: c[11],
            orphans: c[12],
            invalid: c[13],
            version,
            is_deleted: is_deleted(value),
        });
    }
}

/// `conversion_paths`: one upsert is a conversion, which has a row for each model.
#[derive(Debug)]
pub struct ConversionPaths;

impl Table for ConversionPaths {
    const NAME: &'static str = "conversion_paths";
    type Key = Id;
    type Value = Arc<[PathStep]>;
    type Row = ConversionPathRow;

    fn rows(
        conversion: &Id,
        value: Option<&Arc<[PathStep]>>,
        version: Epoch,
        names: &Names,
        push: &mut dyn FnMut(Self::Row),
    ) {
        let steps = value.map_or(&[][..], |steps| steps);
        let joined =
            |each: &dyn Fn(&PathStep) -> String| steps.iter().map(each).collect::<Vec<_>>().join("|");
        let path = joined(&|step| names.id_text(step.touch));
        for model in Model::ALL {
            push(ConversionPathRow {
                conversion_id: names.id_text(*conversion),
                model: model.as_str(),
                path: path.clone(),
                credit_micros: joined(&|step| step.owed[model as usize].credit_micros.to_string()),
                revenue_micros: joined(&|step| step.owed[model as usize].revenue_micros.to_string()),
                version,
                is_deleted: is_deleted(value),
            });
        }
    }

    fn bytes(_: &Id, value: Option<&Arc<[PathStep]>>) -> usize {
        Model::COUNT * (64 + 64 * value.map_or(0, |steps| steps.len()))
    }
}

/// Tables of what ids stand for.
macro_rules! dimensions {
    ($($(#[$doc:meta])* $table:ident, $name:literal, $row:ident { $id:ident, $first:ident $(, $second:ident)? })+) => {
        $($(#[$doc])*
        #[derive(Debug)]
        pub struct $table;

        impl Table for $table {
            const NAME: &'static str = $name;
            type Key = Name;
            type Value = Attributes;
            type Row = $row;

            fn rows(
                id: &Name,
                value: Option<&Attributes>,
                version: Epoch,
                names: &Names,
                push: &mut dyn FnMut(Self::Row),
            ) {
                let mut texts = value.cloned().unwrap_or_default().map(String::from).into_iter();
                let $first = texts.next().unwrap_or_default();
                $(let $second = texts.next().unwrap_or_default();)?
                push($row {
                    $id: names.name_text(*id), $first, $($second,)? version, is_deleted: is_deleted(value),
                });
            }

            fn bytes(_: &Name, value: Option<&Attributes>) -> usize {
                64 + value.iter().flat_map(|texts| texts.iter()).map(|text| text.len()).sum::<usize>()
            }
        })+
    };
}

dimensions! {
    /// `dim_campaign`.
    DimCampaign, "dim_campaign", CampaignRow { campaign_id, advertiser_id, name }
    /// `dim_advertiser`.
    DimAdvertiser, "dim_advertiser", AdvertiserRow { advertiser_id, name }
    /// `dim_creative`.
    DimCreative, "dim_creative", CreativeRow { creative_id, name, format }
    /// `dim_site`.
    DimSite, "dim_site", SiteRow { site, name, category }
}

/// `rejects`: each upsert is a row of its own.
#[derive(Debug)]
pub struct Rejects;

impl Table for Rejects {
    const NAME: &'static str = "rejects";
    type Key = Reject;
    type Value = ();
    type Row = RejectRow;

    fn rows(reject: &Reject, _: Option<&()>, version: Epoch, _: &Names, push: &mut dyn FnMut(Self::Row)) {
        push(RejectRow {
            feed: reject.feed.as_str(),
            reason: reject.reason.as_str(),
            origin: reject.origin.to_string(),
            place: reject.place,
            position: reject.position,
            record: reject.record,
            time: reject.time.map(|time| time.millis()),
            payload: Bytes(reject.payload.clone()),
            hint: reject.hint.clone(),
            version,
        });
    }

    fn bytes(reject: &Reject, _: Option<&()>) -> usize {
        64 + reject.origin.len() + reject.payload.len() + reject.hint.len()
    }
}
