//! The shop itself: what its services write while they serve a request.

use std::collections::VecDeque;

use logmill_model::time::format_rfc3339;
use rand::Rng;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

/// The part of the time during which the payment provider times out.
const INCIDENT: std::ops::Range<f64> = 0.70..0.73;
/// When a new version of the checkout is rolled out.
const DEPLOY: f64 = 0.68;

const MICROSECOND: i64 = 1_000;
const MILLISECOND: i64 = 1_000_000;

/// The shop's state between requests.
pub(super) struct Shop {
    orders: u64,
    deployed: bool,
}

/// A request on its way through the shop.
struct Request<'a> {
    now_ns: i64,
    trace_id: String,
    random: &'a mut ChaCha8Rng,
    out: &'a mut VecDeque<String>,
}

impl Request<'_> {
    /// Time passes: about `milliseconds`, rarely much more.
    #[allow(
        clippy::cast_possible_truncation,
        reason = "some milliseconds in microseconds"
    )]
    fn wait(&mut self, milliseconds: f64) -> f64 {
        let slow = if self.random.random_bool(0.01) {
            12.0
        } else {
            1.0
        };
        let spent = milliseconds * slow * self.random.random_range(0.5..1.6);
        self.now_ns += (spent * 1_000.0) as i64 * MICROSECOND;
        (spent * 1_000.0).round() / 1_000.0
    }

    /// A service writes a record.
    fn log(&mut self, service: &str, level: &str, message: &str, attributes: Value) {
        let host = self.random.random_range(1..=4);
        let mut time = Vec::new();
        format_rfc3339(self.now_ns, &mut time);
        let mut record = Map::new();
        record.insert(
            "timestamp".to_owned(),
            json!(String::from_utf8_lossy(&time)),
        );
        record.insert("level".to_owned(), json!(level));
        record.insert("service".to_owned(), json!(service));
        record.insert(
            "host".to_owned(),
            json!(format!("{service}-{host}.shop.example.com")),
        );
        record.insert("message".to_owned(), json!(message));
        record.insert("trace_id".to_owned(), json!(self.trace_id));
        let span: u64 = self.random.random();
        record.insert("span_id".to_owned(), json!(format!("{span:016x}")));
        if let Value::Object(attributes) = attributes {
            record.extend(attributes);
        }
        self.out.push_back(Value::Object(record).to_string());
    }

    fn customer(&mut self) -> u32 {
        self.random.random_range(1_000..90_000)
    }
}

impl Shop {
    pub(super) fn new() -> Self {
        Self {
            orders: 500_000,
            deployed: false,
        }
    }

    /// Everything that the services write for one request that arrives at `now_ns`; `progress` is how much of the whole
    /// time is over, 0 to 1.
    pub(super) fn request(
        &mut self,
        now_ns: i64,
        progress: f64,
        random: &mut ChaCha8Rng,
        out: &mut VecDeque<String>,
    ) {
        let trace: u128 = random.random();
        let jitter = random.random_range(0..MILLISECOND);
        let kind = random.random_range(0..100);
        let trace_id = format!("{trace:032x}");
        let mut request = Request {
            now_ns: now_ns + jitter,
            trace_id,
            random,
            out,
        };
        if progress >= DEPLOY && !self.deployed {
            self.deployed = true;
            request.log(
                "checkout",
                "info",
                "starting checkout 2.14.0",
                json!({"version": "2.14.0", "pid": 1}),
            );
        }
        match kind {
            0..50 => browse(&mut request),
            50..68 => search(&mut request),
            68..80 => log_in(&mut request),
            80..94 => self.check_out(&mut request, INCIDENT.contains(&progress)),
            94..98 => work(&mut request),
            _ => database(&mut request),
        }
    }

    fn check_out(&mut self, request: &mut Request<'_>, incident: bool) {
        self.orders += 1;
        let order = self.orders;
        let customer = request.customer();
        let amount = request.random.random_range(499..25_000);
        let cents =
            json!({"id": order, "customer": customer, "amount_cents": amount, "currency": "EUR"});
        request.log(
            "checkout",
            "info",
            &format!("order {order} placed by customer {customer}"),
            json!({"order": cents}),
        );
        request.wait(4.0);
        request.log(
            "inventory",
            "debug",
            &format!("reserved {} items for order {order}", amount % 5 + 1),
            json!({"order": {"id": order}}),
        );
        let status = if incident && request.random.random_bool(0.7) {
            self.payment_times_out(request, order)
        } else if request.random.random_bool(0.06) {
            request.wait(90.0);
            let reasons = [
                "insufficient funds",
                "expired card",
                "do not honor",
                "incorrect cvc",
            ];
            let reason = reasons
                .choose(request.random)
                .copied()
                .unwrap_or(reasons[0]);
            let level = if reason == "do not honor" {
                "error"
            } else {
                "warn"
            };
            let detail = json!({"order": {"id": order}, "payment": {"provider": "paywell", "reason": reason}});
            request.log(
                "payments",
                level,
                &format!("payment for order {order} declined: {reason}"),
                detail,
            );
            402
        } else {
            let took = request.wait(120.0);
            let detail = json!({"order": {"id": order}, "payment": {"provider": "paywell", "duration_ms": took}});
            request.log(
                "payments",
                "info",
                &format!("payment for order {order} captured"),
                detail,
            );
            201
        };
        access(request, "POST", "/api/checkout", status, 160.0);
    }

    fn payment_times_out(&self, request: &mut Request<'_>, order: u64) -> u16 {
        for attempt in 1..=3 {
            let took = request.wait(1_000.0);
            let detail = json!({"attempt": attempt, "payment": {"provider": "paywell", "duration_ms": took}});
            request.log(
                "payments",
                "warn",
                &format!("timeout calling paywell for order {order}, attempt {attempt}"),
                detail,
            );
        }
        let message = format!(
            "payment for order {order} failed: provider timeout\n\
             com.example.payments.ProviderTimeout: no answer within 3000 ms\n\
             \tat com.example.payments.Paywell.capture(Paywell.java:118)\n\
             \tat com.example.payments.PaymentService.pay(PaymentService.java:64)\n\
             Caused by: java.net.SocketTimeoutException: Read timed out\n\
             \tat java.base/sun.nio.ch.NioSocketImpl.timedRead(NioSocketImpl.java:278)\n\
             \t... 14 more"
        );
        request.log(
            "payments",
            "error",
            &message,
            json!({"order": {"id": order}, "payment": {"provider": "paywell"}}),
        );
        504
    }
}

/// The gateway's access record.
fn access(request: &mut Request<'_>, method: &str, path: &str, status: u16, milliseconds: f64) {
    let took = request.wait(milliseconds);
    let address = format!("198.51.100.{}", request.random.random_range(1..255));
    let level = match status {
        500.. => "error",
        400.. => "warn",
        _ => "info",
    };
    let bytes = request.random.random_range(150..40_000);
    let http = json!({"method": method, "path": path, "status": status, "duration_ms": took, "bytes": bytes});
    let detail = json!({"http": http, "client": {"ip": address}});
    request.log(
        "gateway",
        level,
        &format!("{method} {path} {status}"),
        detail,
    );
}

fn browse(request: &mut Request<'_>) {
    let product = request.random.random_range(1..20_000);
    let hit = request.random.random_bool(0.8);
    let outcome = if hit { "hit" } else { "miss" };
    request.log(
        "catalog",
        "debug",
        &format!("cache {outcome} for product {product}"),
        json!({"cache": {"hit": hit}}),
    );
    if !hit {
        let took = request.wait(6.0);
        let statement = "SELECT name, price FROM product WHERE id = $1";
        request.log(
            "postgres",
            "info",
            &format!("duration: {took} ms  execute: {statement}"),
            json!({"rows": 1, "duration_ms": took}),
        );
    }
    let status = if request.random.random_bool(0.02) {
        404
    } else {
        200
    };
    access(
        request,
        "GET",
        &format!("/api/products/{product}"),
        status,
        12.0,
    );
}

fn search(request: &mut Request<'_>) {
    let words = [
        "lamp",
        "red shoes",
        "usb cable",
        "tea",
        "bicycle bell",
        "notebook",
    ];
    let word = words.choose(request.random).copied().unwrap_or(words[0]);
    let hits = request.random.random_range(0..900);
    let took = request.wait(25.0);
    let detail = json!({"query": word, "hits": hits, "duration_ms": took});
    request.log(
        "search",
        "info",
        &format!("{hits} hits for {word:?} in {took} ms"),
        detail,
    );
    if request.random.random_bool(0.01) {
        request.log(
            "search",
            "error",
            "shard 3 is not available: connection refused",
            json!({"shard": 3}),
        );
        access(request, "GET", "/api/search", 503, 5.0);
    } else {
        access(request, "GET", "/api/search", 200, 8.0);
    }
}

fn log_in(request: &mut Request<'_>) {
    let customer = request.customer();
    let status = if request.random.random_bool(0.1) {
        let address = format!("203.0.113.{}", request.random.random_range(1..255));
        let detail = json!({"customer": customer, "client": {"ip": address}});
        request.log(
            "auth",
            "warn",
            &format!("wrong password for customer {customer}"),
            detail,
        );
        401
    } else {
        request.log(
            "auth",
            "info",
            &format!("customer {customer} logged in"),
            json!({"customer": customer, "mfa": true}),
        );
        200
    };
    access(request, "POST", "/api/login", status, 60.0);
}

fn work(request: &mut Request<'_>) {
    let jobs = ["send_receipt", "resize_image", "sync_stock", "expire_carts"];
    let job = jobs.choose(request.random).copied().unwrap_or(jobs[0]);
    let took = request.wait(300.0);
    if request.random.random_bool(0.04) {
        let detail = json!({"job": job, "attempt": 2, "duration_ms": took});
        request.log(
            "worker",
            "error",
            &format!("job {job} failed: connection reset by peer; retrying"),
            detail,
        );
    } else {
        request.log(
            "worker",
            "info",
            &format!("job {job} done in {took} ms"),
            json!({"job": job, "duration_ms": took}),
        );
    }
}

fn database(request: &mut Request<'_>) {
    let took = request.wait(40.0);
    if request.random.random_bool(0.03) {
        request.log(
            "postgres",
            "fatal",
            "sorry, too many clients already",
            json!({"sqlstate": "53300"}),
        );
    } else {
        let buffers = request.random.random_range(100..9_000);
        request.log(
            "postgres",
            "info",
            &format!("checkpoint complete: wrote {buffers} buffers"),
            json!({"duration_ms": took}),
        );
    }
}
