//! `/admin/processes`, `/admin/jobs`, `/admin/dlq`: the fleet, for its operators.

use axum::Json;
use axum::extract::{Path, Query, State};
use http::StatusCode;
use logmill_store::{DeadLetterSummary, JobRun, LeaseRow, Member};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use crate::AppState;
use crate::auth::Operator;
use crate::error::{ApiError, ErrorBody};

/// Dead letters of one answer without a limit, and at most.
const LETTERS: (usize, usize) = (100, 1_000);
/// Bytes of a payload that are shown.
const SHOWN_BYTES: usize = 4 << 10;

/// The processes of the fleet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProcessesAnswer {
    /// The process that answers; none where there is only one.
    #[serde(rename = "self")]
    own: Option<String>,
    processes: Vec<Process>,
    /// Partitions of the queue, and who works on them.
    partitions: Vec<Lease>,
}

/// A process.
#[derive(Debug, Serialize, ToSchema)]
struct Process {
    /// Unique among all that live.
    id: String,
    #[schema(example = "worker")]
    role: String,
    /// What it says of itself.
    description: serde_json::Value,
    /// When others take it for dead unless it says something.
    expires_in_ms: u64,
}

/// A lease.
#[derive(Debug, Serialize, ToSchema)]
struct Lease {
    #[schema(example = "partition/3")]
    name: String,
    /// Who has it; none while it is free.
    holder: Option<String>,
    /// Grows with every holder.
    epoch: u64,
    expires_in_ms: u64,
}

impl From<Member> for Process {
    fn from(member: Member) -> Self {
        Self {
            description: serde_json::from_str(&member.description).unwrap_or_default(),
            expires_in_ms: milliseconds(member.expires_in),
            id: member.id,
            role: member.role,
        }
    }
}

impl From<LeaseRow> for Lease {
    fn from(row: LeaseRow) -> Self {
        Self {
            holder: row.holder.filter(|_| !row.expires_in.is_zero()),
            expires_in_ms: milliseconds(row.expires_in),
            name: row.name,
            epoch: row.epoch,
        }
    }
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The processes that share the data, and which partitions they work on.
#[utoipa::path(get, path = "/admin/processes", tag = "operation",
    responses(
        (status = 200, description = "The processes; none where one has the data to itself", body = ProcessesAnswer),
        (status = 503, description = "The catalog does not work", body = ErrorBody),
    ))]
pub(crate) async fn processes(
    State(state): State<AppState>,
    _operator: Operator,
) -> Result<Json<ProcessesAnswer>, ApiError> {
    let members = state.store.members().await?;
    let leases = state.store.leases().await?.into_iter();
    let partitions = leases.filter(|row| row.name.starts_with("partition/"));
    Ok(Json(ProcessesAnswer {
        own: state.store.fleet_status().map(|status| status.member),
        processes: members.into_iter().map(Process::from).collect(),
        partitions: partitions.map(Lease::from).collect(),
    }))
}

/// Background jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobsAnswer {
    /// The last run of each.
    jobs: Vec<Job>,
}

/// The last run of a job.
#[derive(Debug, Serialize, ToSchema)]
struct Job {
    #[schema(example = "retention")]
    name: String,
    /// The process that ran it.
    process: String,
    started_at: String,
    finished_at: String,
    #[schema(example = "succeeded")]
    outcome: String,
    /// What it did, or why it failed.
    detail: String,
}

impl From<JobRun> for Job {
    fn from(run: JobRun) -> Self {
        Self {
            started_at: super::admin::rfc3339(run.started_at_ns),
            finished_at: super::admin::rfc3339(run.finished_at_ns),
            name: run.name,
            process: run.holder,
            outcome: run.outcome,
            detail: run.detail,
        }
    }
}

/// The last run of every background job that is done once for all processes.
#[utoipa::path(get, path = "/admin/jobs", tag = "operation",
    responses(
        (status = 200, description = "The jobs; none where one process has the data to itself", body = JobsAnswer),
        (status = 503, description = "The catalog does not work", body = ErrorBody),
    ))]
pub(crate) async fn jobs(
    State(state): State<AppState>,
    _operator: Operator,
) -> Result<Json<JobsAnswer>, ApiError> {
    let runs = state.store.job_runs().await?;
    Ok(Json(JobsAnswer {
        jobs: runs.into_iter().map(Job::from).collect(),
    }))
}

/// Which dead letters to list.
#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct LettersAsked {
    /// The id of the last one of the page before.
    after: Option<String>,
    /// How many at most; 100 without it.
    limit: Option<usize>,
}

/// Entries of the queue that could not be taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LettersAnswer {
    /// Oldest first.
    letters: Vec<Letter>,
    /// The `after` of the next page, when there is one.
    next: Option<String>,
}

/// An entry of the queue that could not be taken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Letter {
    id: String,
    partition: u32,
    /// Where it was in its partition; a text, for JavaScript's numbers end before.
    sequence: String,
    /// Whose records; empty when not even that could be read.
    tenant: String,
    /// Why it could not be taken.
    reason: String,
    /// When it was set aside.
    at: String,
    bytes: u64,
    /// The first bytes, in base64; only when one is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_base64: Option<String>,
}

impl From<DeadLetterSummary> for Letter {
    fn from(letter: DeadLetterSummary) -> Self {
        let at_ns = i64::try_from(letter.at_ms)
            .unwrap_or(0)
            .saturating_mul(1_000_000);
        Self {
            at: super::admin::rfc3339(at_ns),
            sequence: letter.sequence.0.to_string(),
            id: letter.id,
            partition: letter.partition,
            tenant: letter.tenant,
            reason: letter.reason,
            bytes: letter.bytes,
            payload_base64: None,
        }
    }
}

/// The entries of the queue that were set aside because they are no batches.
#[utoipa::path(get, path = "/admin/dlq", tag = "operation", params(LettersAsked),
    responses(
        (status = 200, description = "A page of them", body = LettersAnswer),
        (status = 503, description = "Redis does not work", body = ErrorBody),
    ))]
pub(crate) async fn letters(
    State(state): State<AppState>,
    _operator: Operator,
    Query(asked): Query<LettersAsked>,
) -> Result<Json<LettersAnswer>, ApiError> {
    let limit = asked.limit.unwrap_or(LETTERS.0).clamp(1, LETTERS.1);
    let letters = state
        .store
        .dead_letters(asked.after.as_deref(), limit)
        .await?;
    let next = letters.last().filter(|_| letters.len() == limit);
    Ok(Json(LettersAnswer {
        next: next.map(|letter| letter.id.clone()),
        letters: letters.into_iter().map(Letter::from).collect(),
    }))
}

/// One of them, with the beginning of its bytes.
#[utoipa::path(get, path = "/admin/dlq/{id}", tag = "operation",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The entry", body = Letter),
        (status = 404, description = "There is none of this id", body = ErrorBody),
    ))]
pub(crate) async fn letter(
    State(state): State<AppState>,
    _operator: Operator,
    Path(id): Path<String>,
) -> Result<Json<Letter>, ApiError> {
    use base64::Engine;
    let letter = state.store.dead_letter(&id).await?;
    let letter = letter.ok_or_else(|| no_letter(&id))?;
    let shown = &letter.payload[..letter.payload.len().min(SHOWN_BYTES)];
    let payload = base64::engine::general_purpose::STANDARD.encode(shown);
    Ok(Json(Letter {
        payload_base64: Some(payload),
        ..letter.summary.into()
    }))
}

/// Put it back into the queue; it is taken, or set aside again.
#[utoipa::path(post, path = "/admin/dlq/{id}/retry", tag = "operation",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "It is in the queue again"),
        (status = 404, description = "There is none of this id", body = ErrorBody),
    ))]
pub(crate) async fn retry_letter(
    State(state): State<AppState>,
    Operator { caller }: Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let work = async { done(state.store.retry_dead_letter(&id).await?, &id) };
    let audit = &state.auth.audit;
    audit
        .act(&caller, "retry_dead_letter", None, &id, json!({}), work)
        .await
}

/// Forget it, with its records.
#[utoipa::path(delete, path = "/admin/dlq/{id}", tag = "operation",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is none of this id", body = ErrorBody),
    ))]
pub(crate) async fn drop_letter(
    State(state): State<AppState>,
    Operator { caller }: Operator,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiError> {
    let work = async { done(state.store.drop_dead_letter(&id).await?, &id) };
    let audit = &state.auth.audit;
    audit
        .act(&caller, "drop_dead_letter", None, &id, json!({}), work)
        .await
}

/// The answer to what was to be done with a letter, which was there or was not.
fn done(was_there: bool, id: &str) -> Result<StatusCode, ApiError> {
    if was_there {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(no_letter(id))
    }
}

fn no_letter(id: &str) -> ApiError {
    let message = format!("there is no dead letter {id:?}");
    ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
}
