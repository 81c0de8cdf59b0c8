//! From the text that Prometheus reads to what an OTLP collector does.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

/// Cumulative, since the start.
const CUMULATIVE: u8 = 2;

/// Whose metrics they are.
#[derive(Clone, Debug)]
pub struct Origin {
    job: String,
    process: usize,
    started: String,
}

impl Origin {
    /// A process of a job, which starts now.
    pub fn new(job: &str, process: usize) -> Self {
        Self { job: job.to_owned(), process, started: now() }
    }
}

/// Nanoseconds since 1970. In JSON, 64-bit numbers are texts.
fn now() -> String {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos()).to_string()
}

/// The body of a request that tells all metrics of a text.
pub fn request(text: &str, origin: &Origin) -> Value {
    let resource = json!({ "attributes": [
        attribute("service.name", "advertisex"),
        attribute("service.namespace", &origin.job),
        attribute("service.instance.id", &format!("{}/{}", origin.job, origin.process)),
        attribute("service.version", env!("CARGO_PKG_VERSION")),
    ]});
    let (metrics, at) = (families(text), now());
    let metrics: Vec<Value> = metrics.iter().map(|family| family.metric(&origin.started, &at)).collect();
    let scope = json!({ "name": "advertisex", "version": env!("CARGO_PKG_VERSION") });
    json!({ "resourceMetrics": [{
        "resource": resource,
        "scopeMetrics": [{ "scope": scope, "metrics": metrics }],
    }]})
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// A metric with all its labels.
#[derive(Debug, Default)]
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
    unit: &'a str,
    samples: Vec<Sample<'a>>,
}

#[derive(Debug)]
struct Sample<'a> {
    /// What the name ends in, behind that of the family.
    suffix: &'a str,
    labels: Vec<(&'a str, String)>,
    value: &'a str,
}

/// Reads OpenMetrics text, of the form in which we write it.
fn families(text: &str) -> Vec<Family<'_>> {
    let mut families: Vec<Family<'_>> = Vec::new();
    for line in text.lines() {
        if let Some(said) = line.strip_prefix("# ") {
            let mut words = said.splitn(3, ' ');
            let (Some(what), Some(name)) = (words.next(), words.next()) else { continue };
            let rest = words.next().unwrap_or_default();
            if families.last().is_none_or(|family| family.name != name) {
                families.push(Family { name, ..Family::default() });
            }
            if let Some(family) = families.last_mut() {
                match what {
                    "TYPE" => family.kind = rest,
                    "HELP" => family.help = rest,
                    "UNIT" => family.unit = rest,
                    _ => {}
                }
            }
        } else if let Some(family) = families.last_mut() {
            family.samples.extend(sample(line, family.name));
        }
    }
    families.retain(|family| !family.samples.is_empty());
    families
}

fn sample<'a>(line: &'a str, family: &str) -> Option<Sample<'a>> {
    let end = line.find(['{', ' '])?;
    let suffix = line[..end].strip_prefix(family)?;
    let mut rest = &line[end..];
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (name, behind) = rest.split_once("=\"")?;
            let (value, behind) = quoted(behind)?;
            labels.push((name.trim_start_matches(','), value));
            rest = behind;
        }
        rest = &rest[1..];
    }
    // A time or an exemplar may follow.
    let value = rest.trim_start().split(' ').next()?;
    Some(Sample { suffix, labels, value })
}

/// A label's value, whose opening quote was read, and what follows its closing one.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

impl Family<'_> {
    fn metric(&self, started: &str, at: &str) -> Value {
        let mut metric = Map::new();
        metric.insert("name".to_owned(), self.name.into());
        metric.insert("description".to_owned(), self.help.into());
        if !self.unit.is_empty() {
            metric.insert("unit".to_owned(), unit(self.unit).into());
        }
        let (key, data) = match self.kind {
            "counter" => {
                let points = self.points(started, at);
                let sum = json!({ "aggregationTemporality": CUMULATIVE, "isMonotonic": true, "dataPoints": points });
                ("sum", sum)
            }
            "histogram" => {
                let points = self.histograms(started, at);
                ("histogram", json!({ "aggregationTemporality": CUMULATIVE, "dataPoints": points }))
            }
            _ => ("gauge", json!({ "dataPoints": self.points(started, at) })),
        };
        metric.insert(key.to_owned(), data);
        Value::Object(metric)
    }

    fn points(&self, started: &str, at: &str) -> Vec<Value> {
        let point = |sample: &Sample<'_>| {
            let mut point = point(&sample.labels, started, at);
            let (key, value) = match sample.value.parse::<i64>() {
                Ok(_) => ("asInt", sample.value.into()),
                Err(_) => ("asDouble", number(sample.value)),
            };
            point.insert(key.to_owned(), value);
            Value::Object(point)
        };
        self.samples.iter().map(point).collect()
    }

    /// A point for each set of labels. Buckets, which stand there in order, are counted one by one and
    /// not up to here.
    fn histograms(&self, started: &str, at: &str) -> Vec<Value> {
        let mut found: BTreeMap<Vec<(&str, String)>, Histogram<'_>> = BTreeMap::new();
        for Sample { suffix, labels, value } in &self.samples {
            let mut labels = labels.clone();
            let bound = labels.iter().position(|(name, _)| *name == "le").map(|at| labels.remove(at).1);
            let histogram = found.entry(labels).or_default();
            match (*suffix, bound) {
                ("_sum", _) => histogram.sum = value,
                ("_count", _) => histogram.count = value,
                ("_bucket", Some(bound)) => {
                    histogram.buckets.push((bound, value.parse().unwrap_or_default()))
                }
                _ => {}
            }
        }
        found.iter().map(|(labels, histogram)| histogram.point(point(labels, started, at))).collect()
    }
}

#[derive(Debug, Default)]
struct Histogram<'a> {
    sum: &'a str,
    count: &'a str,
    buckets: Vec<(String, u64)>,
}

impl Histogram<'_> {
    fn point(&self, mut point: Map<String, Value>) -> Value {
        let below = std::iter::once(0).chain(self.buckets.iter().map(|(_, count)| *count));
        let counts =
            self.buckets.iter().zip(below).map(|((_, count), below)| (count - below.min(*count)).to_string());
        let counts: Vec<String> = counts.collect();
        let bounds = self.buckets.iter().filter(|(bound, _)| bound != "+Inf").map(|(bound, _)| number(bound));
        let bounds: Vec<Value> = bounds.collect();
        for (key, value) in [
            ("count", self.count.into()),
            ("sum", number(self.sum)),
            ("bucketCounts", counts.into()),
            ("explicitBounds", bounds.into()),
        ] {
            point.insert(key.to_owned(), value);
        }
        Value::Object(point)
    }
}

fn point(labels: &[(&str, String)], started: &str, at: &str) -> Map<String, Value> {
    let attributes: Vec<Value> = labels.iter().map(|(name, value)| attribute(name, value)).collect();
    let fields = [
        ("attributes", attributes.into()),
        ("startTimeUnixNano", started.into()),
        ("timeUnixNano", at.into()),
    ];
    fields.map(|(key, value)| (key.to_owned(), value)).into_iter().collect()
}

/// A number; what JSON has no number for is a text.
fn number(text: &str) -> Value {
    match text.parse::<f64>() {
        Ok(number) if number.is_finite() => number.into(),
        Ok(number) if number.is_nan() => "NaN".into(),
        Ok(number) => if number > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        Err(_) => 0.into(),
    }
}

/// As OTLP abbreviates units.
fn unit(name: &str) -> &str {
    match name {
        "seconds" => "s",
        "bytes" => "By",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP read_records Records.\n# TYPE read_records counter\nread_records_total{feed=\"a\\\"b\"} 4\n\
                        read_records_total{feed=\"c\"} 0\n# HELP age_seconds Age.\n# TYPE age_seconds gauge\n\
                        # UNIT age_seconds seconds\nage_seconds 1.5\nage_seconds{of=\"x\",at=\"y\"} NaN\n\
                        # HELP step_seconds A step.\n# TYPE step_seconds histogram\n# UNIT step_seconds seconds\n\
                        step_seconds_sum{worker=\"0\"} 0.75\nstep_seconds_count{worker=\"0\"} 3\n\
                        step_seconds_bucket{le=\"0.1\",worker=\"0\"} 1\nstep_seconds_bucket{le=\"1.0\",worker=\"0\"} 3\n\
                        step_seconds_bucket{le=\"+Inf\",worker=\"0\"} 3\n# EOF\n";

    #[test]
    fn counters_gauges_and_histograms_are_told_with_their_labels() {
        let said = request(TEXT, &Origin::new("ads", 1));
        let resource = &said["resourceMetrics"][0];
        assert_eq!(resource["resource"]["attributes"][2], attribute("service.instance.id", "ads/1"));
        let metrics = resource["scopeMetrics"][0]["metrics"].as_array().expect("metrics");
        assert_eq!(metrics.len(), 3);
        let sum = &metrics[0]["sum"];
        assert_eq!((&sum["isMonotonic"], &sum["aggregationTemporality"]), (&json!(true), &json!(2)));
        assert_eq!(sum["dataPoints"][0]["asInt"], "4");
        assert_eq!(sum["dataPoints"][0]["attributes"], json!([attribute("feed", "a\"b")]));
        let gauge = &metrics[1];
        assert_eq!((&gauge["unit"], &gauge["description"]), (&json!("s"), &json!("Age.")));
        assert_eq!(gauge["gauge"]["dataPoints"][0]["asDouble"], 1.5);
        assert_eq!(gauge["gauge"]["dataPoints"][1]["asDouble"], "NaN");
        let point = &metrics[2]["histogram"]["dataPoints"][0];
        assert_eq!((&point["count"], &point["sum"]), (&json!("3"), &json!(0.75)));
        assert_eq!(
            (&point["bucketCounts"], &point["explicitBounds"]),
            (&json!(["1", "2", "0"]), &json!([0.1, 1.0]))
        );
        assert_eq!(point["attributes"], json!([attribute("worker", "0")]));
    }

    #[test]
    fn every_metric_of_a_run_is_told_and_none_twice() {
        let text = crate::telemetry::Telemetry::default().text();
        let names: Vec<&str> = families(&text).iter().map(|family| family.name).collect();
        let distinct: std::collections::BTreeSet<&str> = names.iter().copied().collect();
        assert_eq!(names.len(), distinct.len());
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        assert_eq!(families(&text).iter().map(|family| family.samples.len()).sum::<usize>(), lines);
    }
}
