//! Bid requests as an Avro object container.
//!
//! Written by hand: the schema never changes, and going through a generic value for each field
//! takes several times as long as all the rest. The tests read it back with `apache_avro`.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::super::dice::mix;
use super::super::error::GenerateError;
use super::super::event::Auction;
use super::super::output::OutputFile;
use super::super::text::{Ids, Kind, push_numbered};
use super::super::world::{country_text, device_text};

const SCHEMA: &str = r#"{"type":"record","name":"advertisex.BidRequest","fields":[{"name":"auction_id","type":"string"},{"name":"timestamp","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"user_id","type":"string"},{"name":"site","type":"string"},{"name":"country","type":"string"},{"name":"device","type":"string"},{"name":"bids","type":{"type":"array","items":{"type":"record","name":"Bid","fields":[{"name":"campaign_id","type":"string"},{"name":"creative_id","type":"string"},{"name":"price_cpm","type":"double"}]}}}]}"#;
/// Large enough to compress well, small enough that a reader skips little after damage.
const REQUESTS_PER_BLOCK: i64 = 1_000;

/// One bid request, as text.
pub(super) struct Request<'a> {
    pub auction_id: &'a str,
    pub ts: i64,
    pub user_id: &'a str,
    pub site: &'a str,
    pub country: &'a str,
    pub device: &'a str,
    /// Campaign, creative and price of each bid.
    pub bids: &'a [(&'a str, &'a str, f64)],
}

/// A container file being written.
pub(super) struct Container {
    file: OutputFile,
    sync: [u8; 16],
    requests: i64,
    data: Vec<u8>,
    text: String,
}

impl Container {
    /// Begins a file. Its sync marker follows from the seed: equal plans make equal bytes.
    pub(super) fn create(dir: &Path, name: &'static str, seed: u64) -> Result<Self, GenerateError> {
        let mut sync = [0; 16];
        sync[..8].copy_from_slice(&mix(seed).to_le_bytes());
        sync[8..].copy_from_slice(&mix(!seed).to_le_bytes());
        let mut file = OutputFile::create(dir, name)?;
        let mut header = b"Obj\x01".to_vec();
        push_long(&mut header, 2);
        for (key, value) in [("avro.codec", "deflate"), ("avro.schema", SCHEMA)] {
            push_text(&mut header, key);
            push_text(&mut header, value);
        }
        push_long(&mut header, 0);
        header.extend(sync);
        file.write(&header)?;
        Ok(Self { file, sync, requests: 0, data: Vec::new(), text: String::new() })
    }

    /// Adds an auction.
    pub(super) fn auction(&mut self, ids: &Ids, auction: &Auction) -> Result<(), GenerateError> {
        push_auction(&mut self.data, &mut self.text, ids, auction);
        self.end_request()
    }

    /// Adds a request of any contents.
    pub(super) fn request(&mut self, request: &Request<'_>) -> Result<(), GenerateError> {
        push_request(&mut self.data, request);
        self.end_request()
    }

    fn end_request(&mut self) -> Result<(), GenerateError> {
        self.requests += 1;
        if self.requests >= REQUESTS_PER_BLOCK { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> Result<(), GenerateError> {
        if self.requests == 0 {
            return Ok(());
        }
        // Level 3: the feeds are made to be read, and higher levels cost more than they save.
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(3));
        let packed = encoder.write_all(&self.data).and_then(|()| encoder.finish());
        let packed = packed.map_err(|error| self.file.failed(error))?;
        let mut head = Vec::with_capacity(16);
        push_long(&mut head, self.requests);
        push_long(&mut head, packed.len() as i64);
        self.file.write(&head)?;
        self.file.write(&packed)?;
        self.file.write(&self.sync)?;
        self.requests = 0;
        self.data.clear();
        Ok(())
    }

    /// Ends the file.
    pub(super) fn finish(mut self) -> Result<(), GenerateError> {
        self.end_block()?;
        self.file.finish()
    }
}

/// Appends the datum of an auction; `text` is scratch space.
pub(super) fn push_auction(data: &mut Vec<u8>, text: &mut String, ids: &Ids, auction: &Auction) {
    let mut put = |data: &mut Vec<u8>, push: &dyn Fn(&mut String)| {
        text.clear();
        push(text);
        push_text(data, text);
    };
    put(data, &|out| ids.push(out, Kind::Auction, auction.n));
    push_long(data, auction.ts);
    put(data, &|out| ids.push(out, Kind::User, auction.user.into()));
    put(data, &|out| push_numbered(out, "site", auction.site.into()));
    push_text(data, country_text(auction.country));
    push_text(data, device_text(auction.device));
    push_count(data, auction.bids.len());
    for bid in &auction.bids {
        put(data, &|out| push_numbered(out, "c", bid.campaign.into()));
        put(data, &|out| push_numbered(out, "cr", bid.creative.into()));
        data.extend((f64::from(bid.price) / 1_000.0).to_le_bytes());
    }
    end_array(data, auction.bids.len());
}

/// Appends the datum of a request of any contents.
pub(super) fn push_request(data: &mut Vec<u8>, request: &Request<'_>) {
    push_text(data, request.auction_id);
    push_long(data, request.ts);
    for text in [request.user_id, request.site, request.country, request.device] {
        push_text(data, text);
    }
    push_count(data, request.bids.len());
    for (campaign, creative, price) in request.bids {
        push_text(data, campaign);
        push_text(data, creative);
        data.extend(price.to_le_bytes());
    }
    end_array(data, request.bids.len());
}

fn push_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = (value << 1 ^ value >> 63) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    push_long(out, text.len() as i64);
    out.extend_from_slice(text.as_bytes());
}

/// An array is a block of its items and an empty block; an empty one is the latter alone.
fn push_count(out: &mut Vec<u8>, items: usize) {
    push_long(out, items as i64);
}

fn end_array(out: &mut Vec<u8>, items: usize) {
    if items > 0 {
        push_long(out, 0);
    }
}
