//! Prepared statements, and portals: a statement with values, whose rows are taken in portions.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::BytesMut;
use futures::StreamExt;
use logmill_query_api::{BatchStream, SqlAnswer, SqlValue};
use logmill_server::Entry;
use pgwire::api::Type;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{FieldDescription, RowDescription};

use crate::error::{PgError, Result};
use crate::rows::{Column, Rows};
use crate::statements::Command;
use crate::types;
use crate::wire::WRITE_BYTES;

/// What a statement is about.
#[derive(Debug)]
pub(crate) enum Action {
    /// Nothing: it is empty.
    Nothing,
    /// The session.
    Command(Command),
    /// Records.
    Query,
}

/// A prepared statement.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) sql: String,
    pub(crate) action: Action,
    /// Of its parameters.
    pub(crate) types: Vec<Type>,
    pub(crate) columns: Arc<[Column]>,
}

impl Prepared {
    /// Memory that it holds, about.
    pub(crate) fn bytes(&self) -> usize {
        let columns = self
            .columns
            .iter()
            .map(|column| column.name.len() + size_of::<Column>());
        size_of::<Self>() + self.sql.len() + columns.sum::<usize>()
    }
}

/// A statement with values.
pub(crate) struct Portal {
    pub(crate) prepared: Arc<Prepared>,
    pub(crate) values: Vec<SqlValue>,
    /// For each column: in its binary format.
    pub(crate) binary: Vec<bool>,
    pub(crate) state: State,
}

impl Portal {
    /// Memory that it holds beside its statement, about.
    pub(crate) fn bytes(&self) -> usize {
        let values = self.values.iter().map(|value| match value {
            SqlValue::Text(text) => text.len() + size_of::<SqlValue>(),
            _ => size_of::<SqlValue>(),
        });
        size_of::<Self>() + values.sum::<usize>()
    }
}

/// How far a portal is.
pub(crate) enum State {
    New,
    Running(Box<Running>),
    Finished,
}

/// An answer of which rows are still to come.
pub(crate) struct Running {
    columns: Arc<[Column]>,
    batches: BatchStream,
    /// The batch that rows are taken of, and the first that is not taken.
    current: Option<(Rows, usize)>,
    /// The query's place, held until its rows are sent.
    _entry: Entry,
}

impl Running {
    pub(crate) fn new(answer: SqlAnswer, columns: Arc<[Column]>, entry: Entry) -> Self {
        Self {
            columns,
            batches: answer.batches,
            current: None,
            _entry: entry,
        }
    }

    pub(crate) fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    /// Gets hold of rows; breaks when there are no more.
    pub(crate) async fn advance(&mut self, sql: &str) -> Result<ControlFlow<()>> {
        while self.current.is_none() {
            let Some(batch) = self.batches.next().await else {
                return Ok(ControlFlow::Break(()));
            };
            let batch = batch.map_err(|error| PgError::of_query(error, sql))?;
            let rows = Rows::new(&batch, &self.columns).map_err(unwritable)?;
            self.current = (rows.len() > 0).then_some((rows, 0));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Writes rows that it has hold of, at most so many, until there is enough to be sent; how many.
    pub(crate) fn write(
        &mut self,
        most: usize,
        binary: &[bool],
        out: &mut BytesMut,
    ) -> Result<usize> {
        let Some((rows, from)) = &mut self.current else {
            return Ok(0);
        };
        let end = rows.len().min(from.saturating_add(most));
        let written = rows.write(*from..end, binary, WRITE_BYTES, out);
        let written = written.map_err(unwritable)?;
        *from += written;
        if *from == rows.len() {
            self.current = None;
        }
        Ok(written)
    }
}

fn unwritable(error: arrow_schema::ArrowError) -> PgError {
    tracing::error!(%error, "rows cannot be written");
    PgError::new(
        "XX000",
        "the answer cannot be written: the server's log has the details",
    )
}

/// The columns of a schema.
pub(crate) fn columns(schema: &arrow_schema::Schema) -> Arc<[Column]> {
    let column = |field: &arrow_schema::FieldRef| Column {
        name: field.name().clone(),
        kind: types::of_arrow(field.data_type()),
    };
    schema.fields().iter().map(column).collect()
}

/// The message that describes rows.
pub(crate) fn description(columns: &[Column], binary: &[bool]) -> PgWireBackendMessage {
    let field = |(index, column): (usize, &Column)| {
        FieldDescription::new(
            column.name.clone(),
            0,
            0,
            column.kind.oid(),
            types::size(&column.kind),
            -1,
            i16::from(binary.get(index).copied().unwrap_or(false)),
        )
    };
    let fields = columns.iter().enumerate().map(field).collect();
    PgWireBackendMessage::RowDescription(RowDescription::new(fields))
}

/// Which of `count` values are binary: the client says nothing (text), one thing for all, or one for each.
pub(crate) fn formats(codes: &[i16], count: usize) -> Result<Vec<bool>> {
    match codes {
        [] => Ok(vec![false; count]),
        [all] => Ok(vec![*all == 1; count]),
        each if each.len() == count => Ok(each.iter().map(|code| *code == 1).collect()),
        each => {
            let message = format!("{} formats for {count} values", each.len());
            Err(PgError::protocol(message))
        }
    }
}
