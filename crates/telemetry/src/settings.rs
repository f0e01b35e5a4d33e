//! The customary variables, as far as the exporter of traces does not read them itself.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use percent_encoding::percent_decode_str;

use crate::Error;

/// How long an export may take unless the environment says otherwise.
const TIMEOUT_MS: u64 = 10_000;
/// How often metrics are sent unless the environment says otherwise.
const METRICS_INTERVAL_MS: u64 = 60_000;

/// Looks a variable up.
type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What is wanted.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) traces: Option<TracesTarget>,
    pub(crate) metrics: Option<MetricsTarget>,
    /// The environment names the service.
    pub(crate) service_is_named: bool,
}

/// Where traces go; endpoint and headers are read by the exporter.
#[derive(Debug)]
pub(crate) struct TracesTarget {
    pub(crate) timeout: Duration,
}

/// Where metrics go.
#[derive(Debug)]
pub(crate) struct MetricsTarget {
    pub(crate) endpoint: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) timeout: Duration,
    pub(crate) interval: Duration,
}

/// What can be exported.
#[derive(Clone, Copy)]
enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Traces => "TRACES",
            Self::Metrics => "METRICS",
        }
    }

    /// A variable for this signal, or the one for all of them: name and value.
    fn variable(self, environment: Environment<'_>, suffix: &str) -> Option<(String, String)> {
        let own = format!("OTEL_EXPORTER_OTLP_{}_{suffix}", self.name());
        let general = format!("OTEL_EXPORTER_OTLP_{suffix}");
        [own, general]
            .into_iter()
            .find_map(|name| Some((set(environment, &name)?, name)))
            .map(|(value, name)| (name, value))
    }

    fn is_wanted(self, environment: Environment<'_>) -> Result<bool, Error> {
        let exporter = set(environment, &format!("OTEL_{}_EXPORTER", self.name()));
        if exporter.as_deref() == Some("none") || self.variable(environment, "ENDPOINT").is_none() {
            return Ok(false);
        }
        match self.variable(environment, "PROTOCOL") {
            Some((name, value)) if value != "http/protobuf" => Err(Error::Variable {
                name,
                value,
                expected: "Logmill exports by http/protobuf alone (port 4318 of a collector)",
            }),
            _ => Ok(true),
        }
    }

    fn timeout(self, environment: Environment<'_>) -> Result<Duration, Error> {
        let variable = self.variable(environment, "TIMEOUT");
        milliseconds(variable, TIMEOUT_MS)
    }
}

impl Settings {
    /// Reads them.
    pub(crate) fn read(environment: Environment<'_>) -> Result<Self, Error> {
        let disabled = set(environment, "OTEL_SDK_DISABLED")
            .is_some_and(|value| value.eq_ignore_ascii_case("true"));
        let wanted = |signal: Signal| match disabled {
            true => Ok(false),
            false => signal.is_wanted(environment),
        };
        let traces = if wanted(Signal::Traces)? {
            Some(TracesTarget {
                timeout: Signal::Traces.timeout(environment)?,
            })
        } else {
            None
        };
        let metrics = if wanted(Signal::Metrics)? {
            Some(MetricsTarget::read(environment)?)
        } else {
            None
        };
        let service_is_named = set(environment, "OTEL_SERVICE_NAME").is_some()
            || set(environment, "OTEL_RESOURCE_ATTRIBUTES")
                .is_some_and(|attributes| attributes.contains("service.name="));
        Ok(Self {
            traces,
            metrics,
            service_is_named,
        })
    }
}

impl MetricsTarget {
    fn read(environment: Environment<'_>) -> Result<Self, Error> {
        let (name, value) = Signal::Metrics
            .variable(environment, "ENDPOINT")
            .unwrap_or_default();
        // The endpoint of one signal is taken as it is, that of all of them is where their paths begin.
        let address = if name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
            format!("{}/v1/metrics", value.trim_end_matches('/'))
        } else {
            value.clone()
        };
        let endpoint = address.parse::<Uri>().ok();
        let endpoint = endpoint.filter(|uri| uri.scheme().is_some() && uri.host().is_some());
        let Some(endpoint) = endpoint else {
            return Err(Error::Variable {
                name,
                value,
                expected: "a URL such as http://collector:4318",
            });
        };
        let interval = set(environment, "OTEL_METRIC_EXPORT_INTERVAL")
            .map(|value| ("OTEL_METRIC_EXPORT_INTERVAL".to_owned(), value));
        Ok(Self {
            endpoint,
            headers: headers(Signal::Metrics.variable(environment, "HEADERS"))?,
            timeout: Signal::Metrics.timeout(environment)?,
            interval: milliseconds(interval, METRICS_INTERVAL_MS)?,
        })
    }
}

/// A variable that is set to something.
fn set(environment: Environment<'_>, name: &str) -> Option<String> {
    let value = environment(name)?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

fn milliseconds(variable: Option<(String, String)>, default_ms: u64) -> Result<Duration, Error> {
    let Some((name, value)) = variable else {
        return Ok(Duration::from_millis(default_ms));
    };
    match value.parse() {
        Ok(ms) if ms > 0 => Ok(Duration::from_millis(ms)),
        _ => Err(Error::Variable {
            name,
            value,
            expected: "a number of milliseconds",
        }),
    }
}

/// `name=value,name=value`, values percent-encoded.
fn headers(variable: Option<(String, String)>) -> Result<HeaderMap, Error> {
    let mut headers = HeaderMap::new();
    let Some((variable, pairs)) = variable else {
        return Ok(headers);
    };
    for pair in pairs.split(',').filter(|pair| !pair.trim().is_empty()) {
        let header = pair.split_once('=').and_then(|(name, value)| {
            let value: Vec<u8> = percent_decode_str(value.trim()).collect();
            let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
            Some((name, HeaderValue::from_bytes(&value).ok()?))
        });
        // The values are secrets: they are not repeated.
        let Some((name, value)) = header else {
            return Err(Error::Variable {
                name: variable,
                value: "…".to_owned(),
                expected: "name=value pairs with commas between them, values percent-encoded",
            });
        };
        headers.insert(name, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::read(&|wanted| {
            let found = variables.iter().find(|(name, _)| *name == wanted);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn without_an_endpoint_nothing_is_wanted() {
        for variables in [
            &[][..],
            &[("OTEL_SERVICE_NAME", "logs")],
            &[("OTEL_EXPORTER_OTLP_ENDPOINT", "")],
            &[
                ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
                ("OTEL_SDK_DISABLED", "TRUE"),
            ],
        ] {
            let settings = read(variables).unwrap();
            assert!(settings.traces.is_none(), "{variables:?}");
            assert!(settings.metrics.is_none(), "{variables:?}");
        }
    }

    #[test]
    fn one_endpoint_is_for_both_and_each_can_have_its_own() {
        let both = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/")]).unwrap();
        assert!(both.traces.is_some());
        let metrics = both.metrics.unwrap();
        assert_eq!(metrics.endpoint, "http://c:4318/v1/metrics");
        assert_eq!(metrics.interval, Duration::from_secs(60));
        let own = read(&[
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "https://m/in"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b, x = y"),
            ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "5"),
        ])
        .unwrap();
        assert!(own.traces.is_none());
        let metrics = own.metrics.unwrap();
        assert_eq!(metrics.endpoint, "https://m/in");
        assert_eq!(metrics.headers["api-key"], "a b");
        assert_eq!(metrics.headers["x"], "y");
        assert_eq!(metrics.timeout, Duration::from_millis(5));
    }

    #[test]
    fn an_exporter_can_be_left_out() {
        let settings = read(&[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ])
        .unwrap();
        assert!(settings.traces.is_some() && settings.metrics.is_none());
    }

    #[test]
    fn what_is_not_understood_is_refused_with_its_name() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a secret"),
            ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "collector"),
        ] {
            let error = read(&[endpoint, (name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
