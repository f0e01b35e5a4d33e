//! A conversation: questions and answers, by the simple and the extended protocol.

mod commands;
mod extended;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use logmill_query_api::{PostgresQuery, SqlAnswer, SqlValue};
use logmill_server::Login;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{BindComplete, CloseComplete, PortalSuspended};
use pgwire::messages::response::{
    CommandComplete, EmptyQueryResponse, ReadyForQuery, TransactionStatus,
};
use tokio_util::sync::CancellationToken;

use crate::cancel::Cancellable;
use crate::error::PgError;
use crate::frontend::{Message, Target};
use crate::listener::Shared;
use crate::portal::{Action, Portal, Prepared, Running, State, columns, description};
use crate::rows::Column;
use crate::settings::Settings;
use crate::startup::Opened;
use crate::statements;
use crate::wire::{Failure, Outcome, WRITE_BYTES, Wire};

/// A client that may ask.
pub(crate) struct Session {
    shared: Arc<Shared>,
    wire: Wire,
    login: Login,
    settings: Settings,
    cancellable: Cancellable,
    in_transaction: bool,
    /// An extended query failed: what follows up to the next Sync is not looked at.
    skips: bool,
    statements: HashMap<String, Arc<Prepared>>,
    portals: HashMap<String, Portal>,
}

impl Session {
    pub(crate) fn new(shared: Arc<Shared>, opened: Opened) -> Self {
        let Opened {
            wire,
            login,
            settings,
            cancellable,
        } = opened;
        Self {
            shared,
            wire,
            login,
            settings,
            cancellable,
            in_transaction: false,
            skips: false,
            statements: HashMap::new(),
            portals: HashMap::new(),
        }
    }

    /// Talks until one of both wants to end.
    pub(crate) async fn run(mut self) -> Outcome<()> {
        self.ready()?;
        loop {
            let message = match self.listen().await {
                Ok(None | Some(Message::Terminate)) => return Ok(()),
                Ok(Some(message)) => message,
                Err(Failure::Told(error)) => {
                    self.wire.put(&error.into_message())?;
                    self.wire.close().await;
                    return Ok(());
                }
                Err(gone) => return Err(gone),
            };
            let is_simple = matches!(message, Message::Query(_));
            if self.skips && !is_simple && message != Message::Sync {
                continue;
            }
            let outcome = self.answer(message).await;
            self.cancellable.end();
            match outcome {
                Ok(()) => {}
                Err(Failure::Told(error)) => {
                    let fatal = error.fatal;
                    self.wire.put(&error.into_message())?;
                    if fatal {
                        self.wire.close().await;
                        return Ok(());
                    }
                    if is_simple {
                        self.ready()?;
                    } else {
                        self.skips = true;
                    }
                }
                Err(gone) => return Err(gone),
            }
        }
    }

    /// Sends what waits, unless more is to be answered first, then waits for the next message.
    async fn listen(&mut self) -> Outcome<Option<Message>> {
        if !self.wire.has_input() || self.wire.output.len() >= WRITE_BYTES {
            self.wire.flush().await?;
        }
        let options = &self.shared.parts.options;
        let most = usize::try_from(options.message_max_bytes).unwrap_or(usize::MAX);
        let idle = async {
            match options.idle_timeout_ms {
                0 => std::future::pending().await,
                idle_ms => tokio::time::sleep(Duration::from_millis(idle_ms)).await,
            }
        };
        tokio::select! {
            message = self.wire.message(most) => message,
            () = self.shared.stop.cancelled() => {
                Err(PgError::fatal("57P01", "the server stops").into())
            }
            () = idle => {
                let message = "nothing was asked for so long: pg.idle_timeout_ms";
                Err(PgError::fatal("57P05", message).into())
            }
        }
    }

    async fn answer(&mut self, message: Message) -> Outcome<()> {
        match message {
            Message::Query(text) => self.simple(&text).await,
            Message::Parse { name, sql, types } => self.parse(name, sql, &types).await,
            Message::Bind {
                portal,
                statement,
                formats,
                values,
                result_formats,
            } => {
                let bound = self.bind(&statement, &formats, &values, &result_formats)?;
                self.keep_portal(portal, bound)?;
                self.wire
                    .put(&PgWireBackendMessage::BindComplete(BindComplete::new()))
            }
            Message::Describe(target) => self.describe(&target),
            Message::Execute { portal, max_rows } => self.execute(&portal, max_rows).await,
            Message::Close(target) => {
                match target {
                    Target::Statement(name) => drop(self.statements.remove(&name)),
                    Target::Portal(name) => drop(self.portals.remove(&name)),
                }
                self.wire
                    .put(&PgWireBackendMessage::CloseComplete(CloseComplete::new()))
            }
            Message::Flush => Ok(()),
            Message::Sync => {
                self.skips = false;
                if !self.in_transaction {
                    self.portals.clear();
                }
                self.ready()
            }
            Message::Copy => Err(PgError::protocol("nothing is copied here").into()),
            Message::Password(_) | Message::Terminate => {
                Err(PgError::protocol("this message was not expected").into())
            }
        }
    }

    fn ready(&mut self) -> Outcome<()> {
        let status = if self.in_transaction {
            TransactionStatus::Transaction
        } else {
            TransactionStatus::Idle
        };
        self.wire
            .put(&PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(
                status,
            )))
    }

    /// Answers all statements of a text.
    async fn simple(&mut self, text: &str) -> Outcome<()> {
        self.skips = false;
        let statements = statements::split(text);
        if statements.is_empty() {
            self.wire.put(&PgWireBackendMessage::EmptyQueryResponse(
                EmptyQueryResponse::new(),
            ))?;
        }
        for sql in statements {
            if let Some(command) = statements::command(sql) {
                self.carry_out(&command, true)?;
                continue;
            }
            let running = self.start(sql, Vec::new(), None).await?;
            let columns = running.columns().clone();
            let binary = vec![false; columns.len()];
            self.wire.put(&description(&columns, &binary))?;
            let mut running = Box::new(running);
            let (rows, _ended) = self.send_rows(&mut running, sql, &binary, 0).await?;
            self.complete(sql, rows)?;
        }
        self.ready()
    }

    async fn execute(&mut self, name: &str, max_rows: u32) -> Outcome<()> {
        let portal = self.portals.get_mut(name).ok_or_else(|| no_portal(name))?;
        let prepared = portal.prepared.clone();
        let binary = portal.binary.clone();
        let state = std::mem::replace(&mut portal.state, State::Finished);
        let mut running = match (state, &prepared.action) {
            (State::Running(running), _) => running,
            (State::New, Action::Query) => {
                let values = std::mem::take(&mut portal.values);
                let columns = Some(prepared.columns.clone());
                Box::new(self.start(&prepared.sql, values, columns).await?)
            }
            (State::New, Action::Command(command)) => return self.carry_out(command, false),
            (State::New, Action::Nothing) => {
                let empty = EmptyQueryResponse::new();
                return self
                    .wire
                    .put(&PgWireBackendMessage::EmptyQueryResponse(empty));
            }
            (State::Finished, _) => return self.complete(&prepared.sql, 0),
        };
        let most = usize::try_from(max_rows).unwrap_or(usize::MAX);
        let (rows, ended) = self
            .send_rows(&mut running, &prepared.sql, &binary, most)
            .await?;
        if ended {
            return self.complete(&prepared.sql, rows);
        }
        if let Some(portal) = self.portals.get_mut(name) {
            portal.state = State::Running(running);
        }
        self.wire.put(&PgWireBackendMessage::PortalSuspended(
            PortalSuspended::new(),
        ))
    }

    /// Lets a query begin; its columns are those that were described, where they were.
    async fn start(
        &mut self,
        sql: &str,
        values: Vec<SqlValue>,
        described: Option<Arc<[Column]>>,
    ) -> Outcome<Running> {
        let shared = self.shared.clone();
        let entry = shared
            .parts
            .auth
            .enter(&self.login)
            .await
            .map_err(PgError::from)?;
        let query = PostgresQuery {
            tenant: entry.tenant.clone(),
            sql: sql.to_owned(),
            parameters: values,
            timeout_ms: self.settings.timeout_ms,
        };
        let cancel = self.cancellable.begin();
        let asked = shared.parts.engine.postgres(query);
        let answer = interruptible(&mut self.wire, &cancel, asked).await?;
        let answer: SqlAnswer = answer.map_err(|error| PgError::of_query(error, sql))?;
        let columns = described.unwrap_or_else(|| columns(&answer.schema));
        if columns.len() != answer.schema.fields().len() {
            let message = "the table has got other columns since this statement was prepared";
            return Err(PgError::new("0A000", message)
                .hint("prepare it again")
                .into());
        }
        Ok(Running::new(answer, columns, entry))
    }

    /// Sends rows, at most so many (0: all); how many they were, and whether there are no more.
    async fn send_rows(
        &mut self,
        running: &mut Running,
        sql: &str,
        binary: &[bool],
        most: usize,
    ) -> Outcome<(usize, bool)> {
        let cancel = self.cancellable.begin();
        let mut sent = 0;
        loop {
            let next = interruptible(&mut self.wire, &cancel, running.advance(sql)).await??;
            if next == ControlFlow::Break(()) {
                return Ok((sent, true));
            }
            if most > 0 && sent == most {
                return Ok((sent, false));
            }
            let left = if most == 0 { usize::MAX } else { most - sent };
            sent += running.write(left, binary, &mut self.wire.output)?;
            if self.wire.output.len() >= WRITE_BYTES {
                tokio::select! {
                    flushed = self.wire.flush() => flushed?,
                    () = cancel.cancelled() => return Err(cancelled().into()),
                }
            }
        }
    }

    fn complete(&mut self, sql: &str, rows: usize) -> Outcome<()> {
        let first = statements::first_word(sql);
        let tag = match first.as_str() {
            "EXPLAIN" | "SHOW" | "DESCRIBE" => first,
            _ => format!("SELECT {rows}"),
        };
        self.wire.put(&PgWireBackendMessage::CommandComplete(
            CommandComplete::new(tag),
        ))
    }
}

fn no_portal(name: &str) -> PgError {
    PgError::new("34000", format!("portal {name:?} does not exist"))
}

fn cancelled() -> PgError {
    PgError::new("57014", "canceling statement due to user request")
}

/// Does something as long as the client is there and does not want it stopped.
async fn interruptible<T>(
    wire: &mut Wire,
    cancel: &CancellationToken,
    work: impl Future<Output = T>,
) -> Outcome<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(cancelled().into()),
        done = work => Ok(done),
        error = wire.gone() => Err(Failure::Gone(error)),
    }
}
