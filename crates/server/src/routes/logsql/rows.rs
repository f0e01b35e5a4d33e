//! Rows of an answer, as names and texts.

use futures::StreamExt;
use logmill_query_api::LogsQlQuery;
use logmill_query_api::render::{Renderer, plain};

use crate::AppState;
use crate::error::ApiError;

/// A row: the fields that are there.
#[derive(Debug, Default)]
pub(super) struct Row(pub(super) Vec<(String, String)>);

impl Row {
    /// The text of a field; empty when it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map_or("", |(_, text)| text)
    }

    /// The number in a field.
    pub(super) fn number(&self, name: &str) -> u64 {
        self.get(name).parse().unwrap_or(0)
    }
}

/// All rows that the engine answers with: at most as many as a streamed answer may have.
pub(super) async fn rows(state: &AppState, query: LogsQlQuery) -> Result<Vec<Row>, ApiError> {
    let mut batches = state.engine.logsql(query).await?.batches;
    let mut rows = Vec::new();
    while let Some(batch) = batches.next().await {
        let batch = plain(&batch?).map_err(|error| ApiError::internal(&error))?;
        let renderer = Renderer::new(&batch).map_err(|error| ApiError::internal(&error))?;
        for index in 0..batch.num_rows() {
            let mut row = Row::default();
            renderer.for_each_text(index, &mut |name, text| {
                row.0.push((name.to_owned(), text.to_owned()));
            });
            rows.push(row);
        }
    }
    Ok(rows)
}
