//! A collector of traces and metrics: a small HTTP server that keeps what it is sent.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

/// A span, and what the process says of itself that sent it.
#[derive(Clone, Debug)]
pub(crate) struct ReceivedSpan {
    pub(crate) resource: Vec<KeyValue>,
    pub(crate) span: Span,
}

impl ReceivedSpan {
    pub(crate) fn trace(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub(crate) fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    pub(crate) fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug, Default)]
struct Received {
    requests: u64,
    headers: Vec<HashMap<String, String>>,
    spans: Vec<ReceivedSpan>,
    metrics: Vec<(Vec<KeyValue>, Metric)>,
}

/// It lives as long as the test's process.
pub(crate) struct Collector {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received: Arc<Mutex<Received>> = Arc::default();
        let all = received.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let received = all.clone();
                std::thread::spawn(move || {
                    // A sender that is gone ends its connection somewhere.
                    let _ = serve(stream, &received);
                });
            }
        });
        Self { address, received }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.received.lock().unwrap().requests
    }

    pub(crate) fn spans(&self) -> Vec<ReceivedSpan> {
        self.received.lock().unwrap().spans.clone()
    }

    /// A metric as often as it was sent, each with what its sender says of itself.
    pub(crate) fn metrics(&self, name: &str) -> Vec<(Vec<KeyValue>, Metric)> {
        let received = self.received.lock().unwrap();
        let metrics = received.metrics.iter();
        metrics
            .filter(|(_, metric)| metric.name == name)
            .cloned()
            .collect()
    }

    /// The values of a header in all requests.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let received = self.received.lock().unwrap();
        let headers = received.headers.iter();
        headers
            .map(|headers| headers.get(name).cloned().unwrap_or_default())
            .collect()
    }
}

/// An attribute's value.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> Option<Value> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    found.value.clone()?.value
}

/// Takes requests until the sender ends the connection.
fn serve(stream: TcpStream, received: &Mutex<Received>) -> std::io::Result<()> {
    let mut answers = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers["content-length"].parse().unwrap();
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        assert_eq!(headers["content-type"], "application/x-protobuf");
        keep(&mut received.lock().unwrap(), &path, headers, &body);
        answers.write_all(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n",
        )?;
    }
}

fn keep(received: &mut Received, path: &str, headers: HashMap<String, String>, body: &[u8]) {
    received.requests += 1;
    received.headers.push(headers);
    match path {
        "/v1/traces" => {
            let request = ExportTraceServiceRequest::decode(body).unwrap();
            for of_one in request.resource_spans {
                let resource = of_one.resource.unwrap().attributes;
                let spans = of_one.scope_spans.into_iter().flat_map(|scope| scope.spans);
                received.spans.extend(spans.map(|span| ReceivedSpan {
                    resource: resource.clone(),
                    span,
                }));
            }
        }
        "/v1/metrics" => {
            let request = ExportMetricsServiceRequest::decode(body).unwrap();
            for of_one in request.resource_metrics {
                let resource = of_one.resource.unwrap().attributes;
                let scopes = of_one.scope_metrics.into_iter();
                let metrics = scopes.flat_map(|scope| scope.metrics);
                received
                    .metrics
                    .extend(metrics.map(|metric| (resource.clone(), metric)));
            }
        }
        other => panic!("nothing is sent to {other}"),
    }
}
