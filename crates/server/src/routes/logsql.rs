//! VictoriaLogs' HTTP API, for its clients: `/select/logsql/…` and `/insert/jsonline`.
//!
//! Parameters, answers and errors have the shapes that VictoriaLogs documents; what LogsQL means is the engine's to say.
//! Every parameter may stand in the address or in a form (POST).

pub(crate) mod facets;
pub(crate) mod hits;
pub(crate) mod insert;
mod names;
mod parameters;
pub(crate) mod query;
mod question;
mod refused;
mod rows;
pub(crate) mod stats;
mod stats_columns;
pub(crate) mod tail;
pub(crate) mod values;

use http::{HeaderValue, header};

use question::Question;
use refused::{Refused, RefusedQuery};

/// The type of answers that are one document.
const JSON: [(http::HeaderName, HeaderValue); 1] = [(
    header::CONTENT_TYPE,
    HeaderValue::from_static("application/json"),
)];
