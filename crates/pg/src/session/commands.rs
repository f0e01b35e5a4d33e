//! What a session does by itself: transactions that are nothing, and settings.

use std::sync::Arc;

use arrow_array::{RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use pgwire::api::Type;
use pgwire::error::ErrorInfo;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::{CommandComplete, NoticeResponse};
use pgwire::messages::startup::ParameterStatus;

use super::Session;
use crate::error::PgError;
use crate::portal::description;
use crate::rows::{Column, Rows};
use crate::statements::Command;
use crate::wire::Outcome;

impl Session {
    /// Does what is about the session. By the simple protocol the rows of an answer are described with it.
    pub(super) fn carry_out(&mut self, command: &Command, describes: bool) -> Outcome<()> {
        let tag = match command {
            Command::Begin(tag) => {
                self.in_transaction = true;
                tag
            }
            Command::End(tag) => {
                self.in_transaction = false;
                tag
            }
            Command::Nothing(tag) => tag,
            Command::ResetAll(tag) => {
                self.settings.reset();
                if *tag == "DISCARD ALL" {
                    self.statements.clear();
                }
                tag
            }
            Command::Deallocate(name) => {
                match name {
                    Some(name) => drop(self.statements.remove(name)),
                    None => self.statements.clear(),
                }
                "DEALLOCATE"
            }
            Command::Set(name, value) => {
                self.set(name, value.as_deref())?;
                "SET"
            }
            Command::Show(name) => {
                self.show(name, describes)?;
                "SHOW"
            }
        };
        let complete = CommandComplete::new(tag.to_owned());
        self.wire
            .put(&PgWireBackendMessage::CommandComplete(complete))
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Outcome<()> {
        if self.settings.set(name, value)? {
            let message = "times are given in UTC whatever the time zone is".to_owned();
            let info = ErrorInfo::new("NOTICE".to_owned(), "00000".to_owned(), message);
            let notice = NoticeResponse::from(info);
            self.wire
                .put(&PgWireBackendMessage::NoticeResponse(notice))?;
        }
        let reported = self.settings.reported();
        let reported = reported.filter(|(reported, _)| reported.eq_ignore_ascii_case(name));
        let changed: Vec<_> = reported
            .map(|(name, value)| ParameterStatus::new(name.to_owned(), value.to_owned()))
            .collect();
        for status in changed {
            self.wire
                .put(&PgWireBackendMessage::ParameterStatus(status))?;
        }
        Ok(())
    }

    fn show(&mut self, name: &str, describes: bool) -> Outcome<()> {
        let value = self.settings.get(name)?;
        let schema = Schema::new(vec![Field::new(name, DataType::Utf8, false)]);
        let values = Arc::new(StringArray::from(vec![value]));
        let batch = RecordBatch::try_new(Arc::new(schema), vec![values]);
        let columns = setting_columns(name);
        if describes {
            self.wire.put(&description(&columns, &[false]))?;
        }
        let written = batch.and_then(|batch| {
            let rows = Rows::new(&batch, &columns)?;
            rows.write(0..1, &[false], usize::MAX, &mut self.wire.output)
        });
        written.map_err(|error| PgError::new("XX000", error.to_string()))?;
        Ok(())
    }
}

/// The columns of SHOW.
pub(super) fn setting_columns(name: &str) -> Arc<[Column]> {
    Arc::new([Column {
        name: name.to_owned(),
        kind: Type::TEXT,
    }])
}
