//! Which situations a test has really met, so that a generator can't go blind unnoticed.

use std::collections::BTreeMap;

macro_rules! cases {
    ($($(#[$doc:meta])* $case:ident),+ $(,)?) => {
        /// A situation in which a wrong implementation would be found out.
        #[derive(Copy, Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
        pub enum Case { $($(#[$doc])* $case),+ }

        impl Case {
            pub const ALL: &[Case] = &[$(Case::$case),+];
        }
    };
}

cases! {
    /// A record was retracted more often than it was inserted.
    AbsentByRetraction,
    ExactCopy,
    ConflictingBids,
    BidsTiedInPriceAndTime,
    ConflictingImpressions,
    ImpressionsTiedInTime,
    ConflictingClicks,
    ClicksTiedInTime,
    ConflictingConversions,
    ConversionsTiedInTime,
    ContradictoryCampaigns,
    ContradictorySettings,
    ContradictoryRules,
    /// A rule of an advertiser inherits a setting that the global rule changes.
    RuleRefined,
    Orphan,
    ClickBeforeImpression,
    ClickAtImpression,
    ClickAtWindowEnd,
    ClickJustBeyondWindow,
    ValidClickInOtherHour,
    SeveralValidClicksOnOne,
    Flood,
    ClicksAtFloodLimit,
    /// A flood that would not be one without the clicks on listed impressions.
    FloodByListedClicks,
    ListedUser,
    ListedSite,
    ListedClick,
    Win,
    /// An impression in the minute of its bid, under all that this says.
    WinInPlaceOfBid,
    ImpressionWithoutBid,
    ListedImpressionOfBid,
    /// Several bids of an auction under one place of `supply_hour`.
    AuctionOfSeveralBids,
    /// One auction under several places of `supply_hour`.
    AuctionInSeveralPlaces,
    ReturningUser,
    UnlistedCampaign,
    CampaignWithoutAdvertiser,
    Unattributed,
    ConversionWithoutAdvertiser,
    SingleTouch,
    TwoTouches,
    LongClickPath,
    LongViewPath,
    TouchesTiedInTime,
    TouchAtConversion,
    TouchAfterConversion,
    ClickAtLookback,
    ClickJustBeyondLookback,
    ViewAtLookback,
    ViewJustBeyondLookback,
    ClicksShadowViews,
    PathOfSeveralCampaigns,
    WorthlessConversion,
    UnevenRevenue,
    HugeRevenue,
    DecayedToNothing,
    ByFirstTouch,
    ByLastTouch,
    ByLinear,
    ByPositionBased,
    ByTimeDecay,
}

/// How often each case was met.
#[derive(Clone, Debug, Default)]
pub struct Coverage(BTreeMap<Case, usize>);

impl Coverage {
    pub fn saw(&mut self, case: Case, really: bool) {
        if really {
            *self.0.entry(case).or_default() += 1;
        }
    }

    /// The cases met fewer than `times` times.
    pub fn rare(&self, times: usize) -> Vec<(Case, usize)> {
        let met = |case| self.0.get(case).copied().unwrap_or(0);
        Case::ALL.iter().map(|case| (*case, met(case))).filter(|(_, met)| *met < times).collect()
    }
}
