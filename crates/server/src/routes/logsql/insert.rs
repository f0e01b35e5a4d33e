//! `POST /insert/jsonline`: records in, as VictoriaLogs' clients send them.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::request::Parts;
use logmill_ingest::BodyFormat;

use super::Refused;
use super::names::FieldNames;
use crate::AppState;
use crate::auth::{Authorized, Ingest};
use crate::error::ApiError;
use crate::routes::ingest::{Head, content_encoding, declared_length, take};

/// Take in records, as VictoriaLogs does: a JSON object a line.
///
/// As with `/ingest`, a 200 means that the accepted records are on stable storage. Its body is empty where all were
/// accepted, and names those that were refused else.
#[utoipa::path(
    post,
    path = "/insert/jsonline",
    tag = "victorialogs",
    params(
        ("_time_field" = Option<String>, Query, description = "Which field is the time; several with commas, the first that a record has. Also as header VL-Time-Field"),
        ("_msg_field" = Option<String>, Query, description = "Which field is the message; as above. VL-Msg-Field"),
        ("_stream_fields" = Option<String>, Query, description = "Streams are always those of host and service. VL-Stream-Fields"),
        ("ignore_fields" = Option<String>, Query, description = "Fields that are left out; `a.*` for all that begin so. VL-Ignore-Fields"),
        ("extra_fields" = Option<String>, Query, description = "`name=value,…` of records that lack the field. VL-Extra-Fields"),
        ("Content-Encoding" = Option<String>, Header, description = "gzip, zstd, snappy, deflate"),
        ("AccountID" = Option<u32>, Header),
        ("ProjectID" = Option<u32>, Header),
    ),
    request_body(description = "An object a line", content((String = "application/stream+json"))),
    responses(
        (status = 200, description = "Stored; without a body, or with the refused records", body = Object),
        (status = 400, description = "Every record was refused, or the request is wrong", body = String, content_type = "text/plain"),
        (status = 429, description = "Memory is short; nothing was stored; see Retry-After", body = String, content_type = "text/plain"),
    )
)]
pub(crate) async fn jsonline(
    State(state): State<AppState>,
    authorized: Authorized<Ingest>,
    request: Request,
) -> Result<Response, Refused> {
    let (parts, body) = request.into_parts();
    let head = head(authorized, &parts)?;
    let taken = take(&state, head, body).await?;
    if taken.rejected > 0 {
        return Ok(taken.response);
    }
    Ok(().into_response())
}

fn head(authorized: Authorized<Ingest>, parts: &Parts) -> Result<Head, ApiError> {
    let headers = &parts.headers;
    let query = parts.uri.query().unwrap_or_default();
    let list = |parameter: &str, header: &str| list(query, headers, parameter, header);
    let names = FieldNames {
        time: list("_time_field", "vl-time-field"),
        message: list("_msg_field", "vl-msg-field"),
        ignored: list("ignore_fields", "vl-ignore-fields"),
    };
    let extra = list("extra_fields", "vl-extra-fields");
    let defaults = extra.iter().map(|pair| match pair.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(ApiError::bad_request(
            "invalid_parameter",
            format!("extra_fields {pair:?}: fields are written as name=value"),
        )),
    });
    let rename = !names.is_default();
    Ok(Head {
        tenant: authorized.tenant,
        row: authorized.row,
        format: BodyFormat::Ndjson,
        prepare: if rename {
            Some(Box::new(move |body| names.renamed(body)))
        } else {
            None
        },
        encoding: content_encoding(headers)?,
        defaults: defaults.collect::<Result<_, _>>()?,
        idempotency_key: None,
        declared_length: declared_length(headers),
        fingerprint_seed: String::new(),
    })
}

/// The items of a parameter, or of the header that may stand for it.
fn list(query: &str, headers: &HeaderMap, parameter: &str, header: &str) -> Vec<String> {
    let mut values = url::form_urlencoded::parse(query.as_bytes());
    let value = values.find(|(name, value)| name == parameter && !value.is_empty());
    let value = value.map(|(_, value)| value.into_owned()).or_else(|| {
        let value = headers.get(header)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    let items = value.unwrap_or_default();
    let items = items
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    items.map(str::to_owned).collect()
}
