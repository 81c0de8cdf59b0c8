//! The catalogue: what goes in, what comes out, and how the graphs are joined.
//!
//! ```text
//!  bids ───────────────────────▶ auctions ──────────▶ facts, supply
//!                                   ▲ served
//!  impressions ─▶ (arranged once) ─▶ impressions ───▶ reach
//!                    │  │  │        ▲    │ timely clicks
//!  clicks ──▶ dedup ─┼──┼──┼────────┘    ▼
//!                    │  │  │           flood
//!                    │  │  └─▶ touches ◀──┘ valid clicks ─▶ facts
//!  conversions ─▶ dedup │         │
//!                    │  └─────────┼─▶ booking ─▶ facts
//!                    └▶ attribution ◀┘   ▲ booked
//!                          └─────────────┘─▶ paths, credit by hour
//!
//!  facts ─▶ performance by minute and by hour
//! ```

pub mod attribution;
pub mod auctions;
pub mod booking;
pub mod catalogue;
pub mod dedup;
pub mod flood;
pub mod impressions;
pub mod reach;
pub mod residue;
pub mod touches;
