//! `POST /ingest`: records in.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use logmill_catalog::TenantRow;
use logmill_ingest::{BodyFormat, ContentEncoding, DecodeOptions, Decoded, TextFormat, decompress};
use logmill_model::TenantId;
use logmill_store::{
    AppendRequest, Committed, IdempotencyKey, IdempotencyOutcome, IdempotencyPermit, Prepared,
};
use serde::Serialize;
use utoipa::ToSchema;
use xxhash_rust::xxh3::Xxh3;

use crate::auth::{Authorized, Ingest};
use crate::budget::Share;
use crate::error::{ApiError, ErrorBody};
use crate::options::size;
use crate::quota::RateQuota;
use crate::state::Workbench;
use crate::{AppState, body, request_id};

/// What became of a request's records.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct IngestAnswer {
    /// Records that are stored and can be queried.
    #[schema(example = 1)]
    accepted: u64,
    /// Records that were refused.
    #[schema(example = 1)]
    rejected: u64,
    /// Lines of text that were joined to the record before them.
    continuation_lines: u64,
    /// The first refused records.
    errors: Vec<RefusedRecord>,
}

/// A refused record.
#[derive(Debug, Serialize, ToSchema)]
struct RefusedRecord {
    /// Its position among the request's records, from 0.
    #[schema(example = 1)]
    index: u64,
    #[schema(example = "malformed_json")]
    code: &'static str,
    message: String,
}

/// What the head of a request says.
pub(super) struct Head {
    pub(super) tenant: TenantId,
    /// Has the tenant's quotas.
    pub(super) row: Option<Arc<TenantRow>>,
    pub(super) format: BodyFormat,
    /// What is done to the lines of the decompressed body before they are read.
    pub(super) prepare: Option<Box<Prepare>>,
    pub(super) encoding: ContentEncoding,
    pub(super) defaults: Vec<(String, String)>,
    pub(super) idempotency_key: Option<String>,
    pub(super) declared_length: Option<u64>,
    pub(super) fingerprint_seed: String,
}

/// Makes another body of one.
pub(super) type Prepare = dyn Fn(&[u8]) -> Vec<u8> + Send;

/// What became of a request.
pub(super) struct Taken {
    /// The answer of `/ingest`.
    pub(super) response: Response,
    /// Records that were refused.
    pub(super) rejected: u64,
}

/// Take in records.
///
/// A 200 means that the accepted records are on stable storage and can be queried. Refused records are named, the
/// others are in. Query parameters other than `format` become attributes of every record that lacks them.
#[utoipa::path(
    post,
    path = "/ingest",
    tag = "ingest",
    params(
        ("format" = Option<String>, Query, description = "For text/plain: auto, raw, syslog, logfmt, clf", example = "auto"),
        ("Idempotency-Key" = Option<String>, Header, description = "A retry with the same key is answered as the first was, and stored once"),
        ("X-Tenant-ID" = Option<String>, Header, description = "Whose records; `default` without it"),
        ("Content-Encoding" = Option<String>, Header, description = "gzip, zstd, snappy, deflate"),
    ),
    request_body(
        description = "One JSON object or an array (application/json), an object a line (application/x-ndjson), or lines (text/plain)",
        content((serde_json::Value = "application/json"), (String = "application/x-ndjson"), (String = "text/plain"))
    ),
    responses(
        (status = 200, description = "Stored; refused records are named", body = IngestAnswer),
        (status = 400, description = "Every record was refused (the body of 200), or the request is wrong (an error)", body = IngestAnswer),
        (status = 413, description = "The body is too long", body = ErrorBody),
        (status = 415, description = "Content type or encoding is not supported", body = ErrorBody),
        (status = 422, description = "The idempotency key was used for another body", body = ErrorBody),
        (status = 429, description = "Memory is short; nothing was stored; see Retry-After", body = ErrorBody),
        (status = 503, description = "The log does not work, or the server is stopping; see Retry-After", body = ErrorBody),
    )
)]
pub(crate) async fn ingest(
    State(state): State<AppState>,
    Authorized { tenant, row, .. }: Authorized<Ingest>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let head = head(tenant, row, &parts.headers, parts.uri.query())?;
    Ok(take(&state, head, body).await?.response)
}

/// Reads, decodes and stores the body of a request.
pub(super) async fn take(state: &AppState, head: Head, body: Body) -> Result<Taken, ApiError> {
    let (quotas, row) = (&state.auth.quotas, head.row.clone());
    quotas.admit_ingest(row.as_deref(), &state.store).await?;
    let mut bench = state.workbenches.take();
    let mut share = state.budget.share();
    let options = &state.options;
    let read = body::read(
        body,
        head.declared_length,
        options.body_max_bytes,
        Duration::from_millis(options.body_timeout_ms),
        &mut share,
        &mut bench.wire,
    );
    if let Err(error) = read.await {
        state.workbenches.give_back(bench);
        return Err(error);
    }
    let wire_bytes = bench.wire.len() as u64;
    let row = row.as_deref();
    quotas
        .charge_ingest(row, RateQuota::IngestBytes, wire_bytes)
        .await;
    store(state, head, bench, share).await
}

/// Decodes the body on the workbench and stores what is good.
async fn store(
    state: &AppState,
    head: Head,
    bench: Workbench,
    share: Share,
) -> Result<Taken, ApiError> {
    let permit = match &head.idempotency_key {
        Some(key) => {
            let fingerprint = fingerprint(&head, &bench.wire);
            let key = IdempotencyKey {
                key: key.clone(),
                fingerprint,
            };
            match state.store.begin_idempotent(&head.tenant, key).await? {
                IdempotencyOutcome::New(permit) => Some(permit),
                IdempotencyOutcome::Replay(answer) => {
                    state.workbenches.give_back(bench);
                    return Ok(replay(answer));
                }
                IdempotencyOutcome::Mismatch => {
                    state.workbenches.give_back(bench);
                    return Err(key_reused());
                }
            }
        }
        None => None,
    };
    let turn = state.workbenches.decoding().acquire_owned().await;
    let worker = state.clone();
    let row = head.row.clone();
    let decoded = tokio::task::spawn_blocking(request_id::carry(move || {
        let mut bench = bench;
        let mut share = share;
        let span = tracing::debug_span!("decode", wire_bytes = bench.wire.len());
        let decode = || decode_and_prepare(&worker, &head, &mut bench, &mut share, permit);
        let outcome = span.in_scope(decode);
        worker.workbenches.give_back(bench);
        drop(turn);
        (outcome, share)
    }));
    let (outcome, _share) = decoded.await.map_err(|panic| ApiError::internal(&panic))?;
    let (status, answer, prepared) = outcome?;
    if let Some(prepared) = prepared {
        match state.store.commit(prepared).await? {
            Committed::Stored => {}
            Committed::Replayed(answer) => return Ok(replay(answer)),
            Committed::KeyReused => return Err(key_reused()),
        }
        metrics::counter!("logmill_ingest_records_total", "outcome" => "accepted")
            .increment(answer.accepted);
        let quotas = &state.auth.quotas;
        quotas
            .charge_ingest(row.as_deref(), RateQuota::IngestRecords, answer.accepted)
            .await;
    }
    Ok(Taken {
        response: (status, [(header::CONTENT_TYPE, JSON)], answer.body).into_response(),
        rejected: answer.rejected,
    })
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// An answer on its way.
struct Encoded {
    accepted: u64,
    rejected: u64,
    body: Vec<u8>,
}

/// The part of a request that takes the processor.
fn decode_and_prepare(
    state: &AppState,
    head: &Head,
    bench: &mut Workbench,
    share: &mut Share,
    permit: Option<IdempotencyPermit>,
) -> Result<(StatusCode, Encoded, Option<Prepared>), ApiError> {
    let wire_bytes = bench.wire.len() as u64;
    let body = if head.encoding == ContentEncoding::Identity {
        &mut bench.wire
    } else {
        let limit = size(state.options.decompressed_max_bytes);
        decompress(head.encoding, &bench.wire, &mut bench.body, limit)?;
        share.grow(bench.body.len() as u64)?;
        &mut bench.body
    };
    metrics::counter!("logmill_ingest_bytes_total", "kind" => "wire").increment(wire_bytes);
    metrics::counter!("logmill_ingest_bytes_total", "kind" => "decoded")
        .increment(body.len() as u64);
    let columns = state.store.columns(&head.tenant)?;
    let columns_quota = head.row.as_ref().and_then(|row| row.quotas.columns);
    let received_at_ns = state.clock.now_ns();
    let options = DecodeOptions {
        format: head.format,
        received_at_ns,
        defaults: &head.defaults,
        limits: &state.options.decode_limits(),
        admit: &|name| columns.admit(name, columns_quota),
    };
    if let Some(prepare) = &head.prepare {
        *body = prepare(body);
        share.grow(body.len() as u64)?;
    }
    let decoded = bench.decoder.decode(body, &options)?;
    count_refusals(&decoded);
    let (batch, answer) = answer(decoded);
    let (accepted, rejected) = (answer.accepted, answer.rejected);
    let body = serde_json::to_vec(&answer).map_err(|error| ApiError::internal(&error))?;
    let Some(batch) = batch else {
        let encoded = Encoded {
            accepted,
            rejected,
            body,
        };
        return Ok((StatusCode::BAD_REQUEST, encoded, None));
    };
    let prepared = state.store.prepare(AppendRequest {
        tenant: head.tenant.clone(),
        batch,
        received_at_ns,
        idempotency: permit.map(|permit| (permit, body.clone())),
    })?;
    let encoded = Encoded {
        accepted,
        rejected,
        body,
    };
    Ok((StatusCode::OK, encoded, Some(prepared)))
}

fn count_refusals(decoded: &Decoded) {
    if decoded.rejected == 0 {
        return;
    }
    metrics::counter!("logmill_ingest_records_total", "outcome" => "rejected")
        .increment(decoded.rejected);
    for error in &decoded.errors {
        let code = error.code.as_str();
        metrics::counter!("logmill_rejected_records_total", "code" => code).increment(1);
    }
}

fn answer(decoded: Decoded) -> (Option<arrow_array::RecordBatch>, IngestAnswer) {
    let errors = decoded.errors.into_iter().map(|error| RefusedRecord {
        index: error.index,
        code: error.code.as_str(),
        message: error.message,
    });
    let answer = IngestAnswer {
        accepted: decoded.accepted,
        rejected: decoded.rejected,
        continuation_lines: decoded.continuation_lines,
        errors: errors.collect(),
    };
    (decoded.batch, answer)
}

fn key_reused() -> ApiError {
    let message =
        "this Idempotency-Key was used for another request: take a new key for new records";
    let status = StatusCode::UNPROCESSABLE_ENTITY;
    ApiError::new(status, "idempotency_key_reused", message)
}

/// The answer that the first request got.
fn replay(answer: Vec<u8>) -> Taken {
    let accepted = serde_json::from_slice::<serde_json::Value>(&answer)
        .ok()
        .and_then(|answer| answer["accepted"].as_u64())
        .unwrap_or(0);
    metrics::counter!("logmill_ingest_records_total", "outcome" => "duplicate").increment(accepted);
    let headers = [
        (header::CONTENT_TYPE, JSON),
        (
            header::HeaderName::from_static("idempotent-replay"),
            HeaderValue::from_static("true"),
        ),
    ];
    Taken {
        response: (StatusCode::OK, headers, answer).into_response(),
        rejected: 0,
    }
}

fn fingerprint(head: &Head, body: &[u8]) -> [u8; 16] {
    let mut hasher = Xxh3::new();
    hasher.update(head.fingerprint_seed.as_bytes());
    hasher.update(body);
    hasher.digest128().to_be_bytes()
}

/// Reads what the head of a request says, and refuses what cannot be served.
fn head(
    tenant: TenantId,
    row: Option<Arc<TenantRow>>,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Head, ApiError> {
    let mut defaults = Vec::new();
    let mut text_format = None;
    for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if name == "format" {
            text_format = Some(parse_text_format(&value)?);
        } else if name.is_empty() || name.len() > 256 || defaults.len() >= 100 {
            let message =
                "query parameters become attributes: at most 100, with names of 1 to 256 bytes";
            return Err(ApiError::bad_request("invalid_parameter", message));
        } else {
            defaults.push((name.into_owned(), value.into_owned()));
        }
    }
    let format = body_format(headers, text_format)?;
    let encoding = content_encoding(headers)?;
    Ok(Head {
        tenant,
        row,
        idempotency_key: idempotency_key(headers)?,
        declared_length: declared_length(headers),
        fingerprint_seed: format!("{format:?} {encoding:?} {defaults:?}"),
        format,
        prepare: None,
        encoding,
        defaults,
    })
}

pub(super) fn content_encoding(headers: &HeaderMap) -> Result<ContentEncoding, ApiError> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(value) => {
            let name = String::from_utf8_lossy(value.as_bytes());
            Ok(ContentEncoding::parse(&name)?)
        }
        None => Ok(ContentEncoding::Identity),
    }
}

pub(super) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    let value = headers.get(header::CONTENT_LENGTH)?;
    value.to_str().ok()?.parse().ok()
}

fn parse_text_format(name: &str) -> Result<TextFormat, ApiError> {
    Ok(match name {
        "auto" => TextFormat::Auto,
        "raw" => TextFormat::Raw,
        "syslog" => TextFormat::Syslog,
        "logfmt" => TextFormat::Logfmt,
        "clf" => TextFormat::Clf,
        other => {
            let message =
                format!("there is no format {other:?}: use auto, raw, syslog, logfmt or clf");
            return Err(ApiError::bad_request("invalid_format", message));
        }
    })
}

const CONTENT_TYPES: &str = "application/json (an object or an array), application/x-ndjson (an object a line) or text/plain (lines)";

fn body_format(headers: &HeaderMap, text: Option<TextFormat>) -> Result<BodyFormat, ApiError> {
    let unsupported = |found: &str| {
        let message = format!("content type {found}: use {CONTENT_TYPES}");
        ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            message,
        )
    };
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Err(unsupported("is missing"));
    };
    let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let (name, parameters) = value.split_once(';').unwrap_or((&value, ""));
    let charset = parameters
        .split(';')
        .find_map(|parameter| parameter.trim().strip_prefix("charset="));
    if charset
        .is_some_and(|charset| !matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii"))
    {
        return Err(unsupported(&format!("{value:?} is not in UTF-8")));
    }
    Ok(match name.trim() {
        "application/json" => BodyFormat::Json,
        "application/x-ndjson"
        | "application/ndjson"
        | "application/jsonl"
        | "application/x-jsonlines"
        | "application/stream+json" => BodyFormat::Ndjson,
        "text/plain" => BodyFormat::Text(text.unwrap_or_default()),
        _ => return Err(unsupported(&format!("{value:?} is not supported"))),
    })
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    const LONGEST: usize = 256;
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let key = String::from_utf8_lossy(value.as_bytes());
    let good =
        (1..=LONGEST).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    if good {
        return Ok(Some(key.into_owned()));
    }
    let message = format!("an Idempotency-Key is 1 to {LONGEST} visible ASCII characters");
    Err(ApiError::bad_request("invalid_idempotency_key", message))
}
