//! A server over a made-up run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use advertisex::names::Names;
use advertisex::serve::access::{Access, Bearer, Principal, Role, digest};
use advertisex::serve::http::{About, Limits, Served, Server};
use advertisex::serve::store::Store;
use advertisex::serve::tls::Certificates;
use advertisex::serve::update::Update;
use advertisex::sinks::clickhouse::{Epochs, Upserts};
use advertisex::telemetry::Telemetry;
use dataflows::graphs::attribution::PathStep;
use dataflows::model::events::{Country, Device, Placed};
use dataflows::model::lookups::Model;
use dataflows::model::measures::{Credit, Measures, Reach, Supply};
use dataflows::model::reject::Feed;
use dataflows::model::time::{Day, EventTime, Hour, Minute};
use serde_json::Value;

pub const HOUR: i64 = 3_600_000;

/// A server, and what it shows.
pub struct Site {
    pub server: Server,
    store: Arc<Store>,
    names: Arc<Names>,
    epoch: u64,
}

pub fn limits() -> Limits {
    Limits {
        requests_per_second: NonZeroU32::new(100_000).expect("above 0"),
        streams_max: 64,
        streams_each_max: 64,
        connections_max: 64,
    }
}

pub fn bearers() -> Vec<Bearer> {
    let bearer = |token, role, advertisers: &[&str]| Bearer {
        digest: digest(token),
        principal: Principal::new(token, role, advertisers.iter().map(|id| (*id).to_owned()).collect(), None),
    };
    vec![
        bearer("alpha-viewer", Role::Viewer, &["alpha"]),
        bearer("bravo-viewer", Role::Viewer, &["bravo"]),
        bearer("alpha-analyst", Role::Analyst, &["alpha"]),
        bearer("analyst", Role::Analyst, &[]),
        bearer("operator", Role::Operator, &[]),
    ]
}

impl Site {
    pub fn open(bearers: Vec<Bearer>, limits: Limits) -> Self {
        Self::open_over(bearers, limits, None)
    }

    /// The same, over TLS if there are certificates.
    pub fn open_over(bearers: Vec<Bearer>, limits: Limits, tls: Option<Certificates>) -> Self {
        let names = Arc::new(Names::default());
        let store = Arc::new(Store::new(Arc::clone(&names), 1_000_000));
        let about = About {
            job: "test".to_owned(),
            currency: "EUR".to_owned(),
            processes: 1,
            workers: 1,
            started: 1,
        };
        let served = Arc::new(Served::new(
            about,
            Arc::<Telemetry>::default(),
            Access::new(bearers, None),
            limits,
            tls.is_some(),
        ));
        served.open(Arc::clone(&store), None);
        let address = "127.0.0.1:0".parse().expect("an address");
        let server = Server::start(address, served, tls).expect("a free port");
        Self { server, store, names, epoch: 0 }
    }

    /// Adds an hour of an advertiser's campaign to every table, or of one that belongs to nobody.
    pub fn publish(&mut self, hour: u32, campaign: &str, advertiser: Option<&str>) {
        self.epoch += 1;
        let name = |text: &str| self.names.name(text).expect("no collision");
        let id = |text: &str| self.names.id(text, EventTime::MIN).expect("no collision");
        let epochs = Epochs { first: self.epoch, last: self.epoch };
        let mut upserts = Upserts::new(epochs);
        let sums = Measures {
            bids: 10,
            wins: 5,
            impressions: 4,
            clicks: 2,
            conversions: 1,
            spend_micros: 7_000_000 + i64::from(hour),
            revenue_micros: 9_000_000,
            bid_micros: 100,
            ..Measures::default()
        };
        upserts.performance_minute.push(((Minute(hour * 60), name(campaign)), Some(sums)));
        let place = Placed {
            window: Hour(hour),
            campaign: name(campaign),
            creative: name(&format!("creative of {campaign}")),
            site: name("news.example"),
            country: Country::parse("DE").expect("a country"),
            device: Device::Mobile,
        };
        upserts.performance_hour.push((place, Some(sums)));
        let owed = Credit { credit_micros: 1_000_000, revenue_micros: 9_000_000 };
        for model in Model::ALL {
            upserts.attribution_hour.push((((Hour(hour), name(campaign)), model), Some(owed)));
        }
        upserts.reach_day.push(((Day(hour / 24), name(campaign)), Some(Reach { users: 3, impressions: 4 })));
        let step = PathStep {
            minute: Minute(hour * 60),
            touch: id(&format!("touch of {campaign}")),
            campaign: name(campaign),
            owed: [owed; Model::COUNT],
            ..PathStep::default()
        };
        upserts.conversion_paths.push((id(&format!("conversion of {campaign} {hour}")), Some([step].into())));
        if let Some(advertiser) = advertiser {
            let title: Box<str> = format!("A campaign of {advertiser}").into();
            upserts.dimensions[0].push((name(campaign), Some([advertiser.into(), title])));
            upserts.dimensions[1]
                .push((name(advertiser), Some([advertiser.to_uppercase().into(), "".into()])));
        }
        self.store.apply(&[Update::from(&upserts)], Some(i64::from(hour) * HOUR));
    }

    /// Adds what belongs to no campaign.
    pub fn publish_supply(&mut self) {
        self.epoch += 1;
        let mut upserts = Upserts::new(Epochs { first: self.epoch, last: self.epoch });
        let key = dataflows::graphs::auctions::SupplyKey { hour: Hour(1), ..Default::default() };
        upserts.supply_hour.push((key, Some(Supply { bid_requests: 9, bids: 8, wins: 1 })));
        let mut counts = [0; 14];
        (counts[0], counts[1]) = (5, 5);
        upserts.quality_minute.push(((Minute(60), Feed::Events), Some(counts)));
        self.store.apply(&[Update::from(&upserts)], None);
    }

    /// Says that nothing has changed up to an epoch.
    pub fn reach(&mut self, epoch: u64) {
        self.epoch = epoch;
        self.store.apply(&[Update::nothing(epoch)], Some(100 * HOUR));
    }

    pub fn get(&self, token: &str, path: &str) -> (u16, String) {
        request(self.server.address(), &format!("GET /api/v1{path}"), &bearer(token), "")
    }

    pub fn json(&self, token: &str, path: &str) -> Value {
        let (status, body) = self.get(token, path);
        assert_eq!(status, 200, "{path}: {body}");
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
    }
}

pub fn bearer(token: &str) -> String {
    if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") }
}

/// A request on a connection of its own; its status and body.
pub fn request(address: SocketAddr, line: &str, headers: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    let length = body.len();
    let text = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    // Who is refused may be hung up on while they still talk.
    let _ = stream.write_all(text.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    if status != 0 && !head.contains("content-security-policy") {
        assert!(status == 400 || status == 431, "every answer is secured: {head}");
    }
    (status, body.to_owned())
}
