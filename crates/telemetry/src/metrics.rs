//! The numbers of `/metrics`, sent from time to time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::{Request, header};
use opentelemetry_http::{Bytes, HttpClient};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource as ProtoResource;
use opentelemetry_sdk::Resource;
use prost::Message;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::http_client::CollectorClient;
use crate::prometheus_text::{Family, Sample, families};
use crate::settings::MetricsTarget;

/// Gives all metrics as Prometheus text.
type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// The task that sends metrics.
#[derive(Debug)]
pub(crate) struct MetricsExport {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// What it takes to send them.
struct Exporter {
    target: MetricsTarget,
    client: CollectorClient,
    resource: ProtoResource,
    render: Render,
    begun: SystemTime,
}

impl MetricsExport {
    /// Sends from now on, on the current runtime.
    pub(crate) fn start(
        target: MetricsTarget,
        resource: &Resource,
        render: Render,
    ) -> Result<Self, Error> {
        let attributes = resource
            .iter()
            .map(|(key, value)| attribute(key.as_str(), value.as_str().into_owned()));
        let exporter = Exporter {
            client: CollectorClient::new(target.timeout)?,
            target,
            resource: ProtoResource {
                attributes: attributes.collect(),
                ..ProtoResource::default()
            },
            render,
            begun: SystemTime::now(),
        };
        let stop = CancellationToken::new();
        let task = tokio::spawn(exporter.run(stop.clone()));
        Ok(Self { stop, task })
    }

    /// Sends a last time, within `longest`.
    pub(crate) async fn finish(self, longest: Duration) {
        self.stop.cancel();
        if tokio::time::timeout(longest, self.task).await.is_err() {
            tracing::warn!("the last metrics were not sent");
        }
    }
}

impl Exporter {
    async fn run(self, stop: CancellationToken) {
        let mut failing = false;
        loop {
            let pause = tokio::time::sleep(self.target.interval);
            let last = tokio::select! {
                () = pause => false,
                () = stop.cancelled() => true,
            };
            let outcome = self.export().await;
            // Numbers are sums since the start: what one export lacks, the next one has.
            match &outcome {
                Err(error) if !failing => {
                    tracing::warn!(error, "metrics could not be sent; it is tried again");
                }
                Ok(()) if failing => tracing::info!("metrics are sent again"),
                _ => {}
            }
            failing = outcome.is_err();
            if last {
                return;
            }
        }
    }

    async fn export(&self) -> Result<(), String> {
        let text = (self.render)();
        let body = self.request(&text, SystemTime::now()).encode_to_vec();
        let mut request = Request::post(self.target.endpoint.clone())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(Bytes::from(body))
            .map_err(|error| error.to_string())?;
        for (name, value) in &self.target.headers {
            request.headers_mut().insert(name, value.clone());
        }
        let answer = self.client.send_bytes(request).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(format!("the collector answered {}", answer.status()))
    }

    fn request(&self, text: &str, now: SystemTime) -> ExportMetricsServiceRequest {
        let times = Times {
            begun_ns: nanoseconds(self.begun),
            now_ns: nanoseconds(now),
        };
        let families = families(text);
        let metrics = families
            .iter()
            .filter_map(|family| times.metric(family))
            .collect();
        let scope = InstrumentationScope {
            name: "logmill".to_owned(),
            ..InstrumentationScope::default()
        };
        ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![ScopeMetrics {
                    scope: Some(scope),
                    metrics,
                    ..ScopeMetrics::default()
                }],
                ..ResourceMetrics::default()
            }],
        }
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0))
}

fn attribute(key: &str, value: String) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue {
            value: Some(Value::StringValue(value)),
        }),
        ..KeyValue::default()
    }
}

fn attributes(labels: &[(&str, String)]) -> Vec<KeyValue> {
    let labels = labels.iter();
    labels
        .map(|(name, value)| attribute(name, value.clone()))
        .collect()
}

/// Between which times numbers were counted.
#[derive(Clone, Copy)]
struct Times {
    begun_ns: u64,
    now_ns: u64,
}

impl Times {
    /// A family of Prometheus's as a metric of OTLP's; `None` for kinds that the recorder does not have.
    fn metric(self, family: &Family<'_>) -> Option<Metric> {
        let cumulative = AggregationTemporality::Cumulative as i32;
        let numbers = || {
            family
                .samples
                .iter()
                .filter_map(|sample| self.number(sample))
        };
        let data = match family.kind {
            "counter" => Data::Sum(Sum {
                data_points: numbers().collect(),
                aggregation_temporality: cumulative,
                is_monotonic: true,
            }),
            "gauge" => Data::Gauge(Gauge {
                data_points: numbers().collect(),
            }),
            "histogram" => Data::Histogram(Histogram {
                data_points: self.histograms(family),
                aggregation_temporality: cumulative,
            }),
            _ => return None,
        };
        Some(Metric {
            name: family.name.to_owned(),
            description: family.help.to_owned(),
            data: Some(data),
            ..Metric::default()
        })
    }

    fn number(self, sample: &Sample<'_>) -> Option<NumberDataPoint> {
        let value = match sample.value.parse() {
            Ok(whole) => number_data_point::Value::AsInt(whole),
            Err(_) => number_data_point::Value::AsDouble(sample.value.parse().ok()?),
        };
        Some(NumberDataPoint {
            attributes: attributes(&sample.labels),
            start_time_unix_nano: self.begun_ns,
            time_unix_nano: self.now_ns,
            value: Some(value),
            ..NumberDataPoint::default()
        })
    }

    /// The lines of a histogram stand together: its buckets, each with those below it, then sum and count.
    fn histograms(self, family: &Family<'_>) -> Vec<HistogramDataPoint> {
        let mut points = Vec::new();
        let (mut bounds, mut counts, mut below) = (Vec::new(), Vec::new(), 0);
        let mut sum = None;
        for sample in &family.samples {
            let suffix = sample.name.strip_prefix(family.name).unwrap_or_default();
            match suffix {
                "_bucket" => {
                    let bound = sample.labels.iter().find(|(name, _)| *name == "le");
                    let bound = bound.and_then(|(_, bound)| bound.parse::<f64>().ok());
                    bounds.extend(bound.filter(|bound| bound.is_finite()));
                    let up_to = sample.value.parse::<u64>().unwrap_or(below);
                    counts.push(up_to.saturating_sub(below));
                    below = up_to;
                }
                "_sum" => sum = sample.value.parse().ok(),
                "_count" => {
                    points.push(HistogramDataPoint {
                        attributes: attributes(&sample.labels),
                        start_time_unix_nano: self.begun_ns,
                        time_unix_nano: self.now_ns,
                        count: sample.value.parse().unwrap_or(below),
                        sum: sum.take(),
                        bucket_counts: std::mem::take(&mut counts),
                        explicit_bounds: std::mem::take(&mut bounds),
                        ..HistogramDataPoint::default()
                    });
                    below = 0;
                }
                _ => {}
            }
        }
        points
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# HELP requests_total Requests.
# TYPE requests_total counter
requests_total{route="/a"} 3
requests_total{route="/b"} 4

# TYPE memory_bytes gauge
memory_bytes 1.5

# TYPE time_seconds histogram
time_seconds_bucket{route="/a",le="0.1"} 1
time_seconds_bucket{route="/a",le="1"} 3
time_seconds_bucket{route="/a",le="+Inf"} 4
time_seconds_sum{route="/a"} 7.25
time_seconds_count{route="/a"} 4
time_seconds_bucket{route="/b",le="0.1"} 2
time_seconds_bucket{route="/b",le="1"} 2
time_seconds_bucket{route="/b",le="+Inf"} 2
time_seconds_sum{route="/b"} 0.1
time_seconds_count{route="/b"} 2
"#;

    #[test]
    fn every_kind_keeps_its_numbers() {
        let times = Times {
            begun_ns: 1,
            now_ns: 2,
        };
        let metrics: Vec<Metric> = families(TEXT)
            .iter()
            .filter_map(|family| times.metric(family))
            .collect();
        let [requests, memory, time] = &metrics[..] else {
            panic!("{metrics:?}");
        };
        assert_eq!(requests.description, "Requests.");
        let Some(Data::Sum(sum)) = &requests.data else {
            panic!("{requests:?}");
        };
        assert!(sum.is_monotonic);
        let values: Vec<_> = sum.data_points.iter().map(|point| point.value).collect();
        let whole = |value| Some(number_data_point::Value::AsInt(value));
        assert_eq!(values, [whole(3), whole(4)]);
        assert_eq!(
            sum.data_points[1].attributes,
            [attribute("route", "/b".to_owned())]
        );
        let Some(Data::Gauge(gauge)) = &memory.data else {
            panic!("{memory:?}");
        };
        let value = number_data_point::Value::AsDouble(1.5);
        assert_eq!(gauge.data_points[0].value, Some(value));
        let Some(Data::Histogram(histogram)) = &time.data else {
            panic!("{time:?}");
        };
        let [first, second] = &histogram.data_points[..] else {
            panic!("{histogram:?}");
        };
        assert_eq!(first.bucket_counts, [1, 2, 1]);
        assert_eq!(first.explicit_bounds, [0.1, 1.0]);
        assert_eq!((first.count, first.sum), (4, Some(7.25)));
        assert_eq!(first.attributes, [attribute("route", "/a".to_owned())]);
        assert_eq!(second.bucket_counts, [2, 0, 0]);
    }
}
