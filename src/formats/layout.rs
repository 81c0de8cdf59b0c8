//! How a source writes a feed: which of its fields is which of ours, and in what units.

use dataflows::model::reject::Feed;

use super::timestamp::TimeFormat;

/// A field of a record, whatever the source calls it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Field {
    /// Whether it is a click or a conversion.
    EventType,
    /// Id of a click or conversion.
    EventId,
    /// Id of an impression.
    ImpressionId,
    /// Id of an auction.
    AuctionId,
    /// When it happened.
    Timestamp,
    /// The user.
    UserId,
    /// The campaign.
    CampaignId,
    /// The creative.
    CreativeId,
    /// The advertiser.
    AdvertiserId,
    /// The site.
    Site,
    /// The country.
    Country,
    /// The device.
    Device,
    /// What an impression cost, or the amount bid.
    Price,
    /// Whether it was seen.
    Viewable,
    /// The kind of a conversion.
    ConversionType,
    /// What a conversion was worth.
    Value,
    /// The list of bids of a request.
    Bids,
}

/// What a field may hold.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Class {
    /// A name or other text of at most this many bytes.
    Text(usize),
    /// A time.
    Time,
    /// An amount of money.
    Money,
    /// True or false.
    Flag,
    /// A list of records.
    List,
}

impl Field {
    /// How many fields there are.
    pub const COUNT: usize = Field::Bids as usize + 1;

    /// Every field.
    pub const ALL: [Field; Field::COUNT] = [
        Field::EventType,
        Field::EventId,
        Field::ImpressionId,
        Field::AuctionId,
        Field::Timestamp,
        Field::UserId,
        Field::CampaignId,
        Field::CreativeId,
        Field::AdvertiserId,
        Field::Site,
        Field::Country,
        Field::Device,
        Field::Price,
        Field::Viewable,
        Field::ConversionType,
        Field::Value,
        Field::Bids,
    ];

    /// The field's name in configuration and hints.
    pub fn as_str(self) -> &'static str {
        match self {
            Field::EventType => "event_type",
            Field::EventId => "event_id",
            Field::ImpressionId => "impression_id",
            Field::AuctionId => "auction_id",
            Field::Timestamp => "timestamp",
            Field::UserId => "user_id",
            Field::CampaignId => "campaign_id",
            Field::CreativeId => "creative_id",
            Field::AdvertiserId => "advertiser_id",
            Field::Site => "site",
            Field::Country => "country",
            Field::Device => "device",
            Field::Price => "price",
            Field::Viewable => "viewable",
            Field::ConversionType => "conversion_type",
            Field::Value => "value",
            Field::Bids => "bids",
        }
    }

    /// What the field may hold.
    pub fn class(self) -> Class {
        match self {
            Field::EventId
            | Field::ImpressionId
            | Field::AuctionId
            | Field::UserId
            | Field::CampaignId
            | Field::CreativeId
            | Field::AdvertiserId => Class::Text(128),
            Field::EventType | Field::Site | Field::Country | Field::Device | Field::ConversionType => {
                Class::Text(1024)
            }
            Field::Timestamp => Class::Time,
            Field::Price | Field::Value => Class::Money,
            Field::Viewable => Class::Flag,
            Field::Bids => Class::List,
        }
    }

    /// The bit that stands for the field in a set.
    pub fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// The fields a feed may map, with the name each has in configuration.
pub fn fields_of(feed: Feed) -> &'static [(&'static str, Field)] {
    match feed {
        Feed::Impressions => &[
            ("impression_id", Field::ImpressionId),
            ("auction_id", Field::AuctionId),
            ("timestamp", Field::Timestamp),
            ("user_id", Field::UserId),
            ("campaign_id", Field::CampaignId),
            ("creative_id", Field::CreativeId),
            ("site", Field::Site),
            ("country", Field::Country),
            ("device", Field::Device),
            ("win_price_cpm", Field::Price),
            ("viewable", Field::Viewable),
        ],
        Feed::Events => &[
            ("event_type", Field::EventType),
            ("event_id", Field::EventId),
            ("timestamp", Field::Timestamp),
            ("user_id", Field::UserId),
            ("impression_id", Field::ImpressionId),
            ("advertiser_id", Field::AdvertiserId),
            ("conversion_type", Field::ConversionType),
            ("value", Field::Value),
        ],
        Feed::BidRequests => &[
            ("auction_id", Field::AuctionId),
            ("timestamp", Field::Timestamp),
            ("user_id", Field::UserId),
            ("site", Field::Site),
            ("country", Field::Country),
            ("device", Field::Device),
            ("bids", Field::Bids),
            ("campaign_id", Field::CampaignId),
            ("creative_id", Field::CreativeId),
            ("price_cpm", Field::Price),
        ],
    }
}

/// The fields a record must have.
pub fn required(feed: Feed, kinds: &Kinds) -> &'static [Field] {
    match (feed, kinds) {
        (Feed::Impressions, _) => &[
            Field::ImpressionId,
            Field::AuctionId,
            Field::Timestamp,
            Field::UserId,
            Field::CampaignId,
            Field::Price,
        ],
        (Feed::BidRequests, _) => &[Field::AuctionId, Field::Timestamp, Field::CampaignId, Field::Price],
        (Feed::Events, Kinds::AllClicks) => &[Field::EventId, Field::Timestamp, Field::ImpressionId],
        (Feed::Events, Kinds::AllConversions) => {
            &[Field::EventId, Field::Timestamp, Field::UserId, Field::AdvertiserId]
        }
        (Feed::Events, Kinds::Words { .. }) => &[
            Field::EventType,
            Field::EventId,
            Field::Timestamp,
            Field::ImpressionId,
            Field::UserId,
            Field::AdvertiserId,
        ],
    }
}

/// How clicks are told from conversions.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kinds {
    /// The feed holds clicks only.
    AllClicks,
    /// The feed holds conversions only.
    AllConversions,
    /// By the word in the field `event_type`.
    Words {
        /// Words for a click.
        click: Vec<String>,
        /// Words for a conversion.
        conversion: Vec<String>,
    },
}

/// The shape of delimited text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CsvShape {
    /// Between fields.
    pub delimiter: u8,
    /// Around a field that holds a delimiter; `None`: quotes are ordinary characters.
    pub quote: Option<u8>,
    /// Whether the first line names the columns.
    pub header: bool,
    /// The columns in order, when there is no header.
    pub columns: Vec<String>,
}

/// The container of a feed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Format {
    /// One JSON object per line.
    Json,
    /// Delimited text, one record per line.
    Csv(CsvShape),
    /// Avro object container files.
    Avro,
}

/// How a source writes one feed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layout {
    /// The feed.
    pub feed: Feed,
    /// Its container.
    pub format: Format,
    /// Where each field stands: a column, or a path with dots.
    pub fields: Vec<(Field, String)>,
    /// How times are written.
    pub time: TimeFormat,
    /// The power of ten that turns amounts into micros.
    pub money_scale: i32,
    /// How clicks are told from conversions.
    pub kinds: Kinds,
}
