//! The extended protocol up to the point where rows are wanted: statements are prepared, get values, and are described.

use std::sync::Arc;

use bytes::Bytes;
use logmill_query_api::SqlValue;
use pgwire::api::Type;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{NoData, ParameterDescription};
use pgwire::messages::extendedquery::ParseComplete;

use super::commands::setting_columns;
use super::{Session, interruptible, no_portal};
use crate::error::{PgError, Result};
use crate::frontend::Target;
use crate::portal::{Action, Portal, Prepared, State, columns, description, formats};
use crate::statements::{self, Command};
use crate::wire::Outcome;
use crate::{parameters, types};

impl Session {
    pub(super) async fn parse(&mut self, name: String, sql: String, oids: &[u32]) -> Outcome<()> {
        let mut texts = statements::split(&sql).into_iter();
        let (text, more) = (texts.next().unwrap_or_default().to_owned(), texts.next());
        if more.is_some() {
            let message = "cannot insert multiple commands into a prepared statement";
            return Err(PgError::new("42601", message).into());
        }
        let declared: Vec<Option<Type>> = oids.iter().map(|oid| Type::from_oid(*oid)).collect();
        let prepared = if text.is_empty() {
            Prepared {
                sql: text,
                action: Action::Nothing,
                types: Vec::new(),
                columns: Arc::new([]),
            }
        } else if let Some(command) = statements::command(&text) {
            let columns = match &command {
                Command::Show(name) => setting_columns(name),
                _ => Arc::new([]),
            };
            Prepared {
                sql: text,
                action: Action::Command(command),
                types: Vec::new(),
                columns,
            }
        } else {
            self.shape(text, &declared).await?
        };
        self.statements.remove(&name);
        self.admit(prepared.bytes())?;
        self.statements.insert(name, Arc::new(prepared));
        self.wire
            .put(&PgWireBackendMessage::ParseComplete(ParseComplete::new()))
    }

    /// Has the engine say what a statement takes and answers.
    async fn shape(&mut self, sql: String, declared: &[Option<Type>]) -> Outcome<Prepared> {
        let shared = self.shared.clone();
        let tenant = shared
            .parts
            .auth
            .admit(&self.login)
            .await
            .map_err(PgError::from)?;
        let wanted = declared
            .iter()
            .map(|kind| kind.as_ref().and_then(types::to_arrow));
        let shape = shared
            .parts
            .engine
            .postgres_shape(tenant, sql.clone(), wanted.collect());
        let cancel = self.cancellable.begin();
        let shape = interruptible(&mut self.wire, &cancel, shape).await?;
        let shape = shape.map_err(|error| PgError::of_query(error, &sql))?;
        let planned = shape.parameters.iter().enumerate().map(|(index, planned)| {
            let declared = declared.get(index).cloned().flatten();
            let said = declared.filter(|kind| *kind != Type::UNKNOWN);
            said.unwrap_or_else(|| types::of_arrow(planned))
        });
        Ok(Prepared {
            sql,
            action: Action::Query,
            types: planned.collect(),
            columns: columns(&shape.schema),
        })
    }

    pub(super) fn bind(
        &self,
        statement: &str,
        codes: &[i16],
        values: &[Option<Bytes>],
        result_codes: &[i16],
    ) -> Result<Portal> {
        let prepared = self.statement(statement)?.clone();
        if values.len() != prepared.types.len() {
            let (given, wanted) = (values.len(), prepared.types.len());
            return Err(PgError::protocol(format!(
                "{given} values for {wanted} parameters"
            )));
        }
        let formats_of_values = formats(codes, values.len())?;
        let decoded = values
            .iter()
            .zip(&prepared.types)
            .zip(formats_of_values)
            .enumerate();
        let values = decoded.map(|(index, ((value, kind), binary))| match value {
            None => Ok(SqlValue::Null),
            Some(bytes) => parameters::decode(index + 1, kind, binary, bytes),
        });
        Ok(Portal {
            values: values.collect::<Result<_>>()?,
            binary: formats(result_codes, prepared.columns.len())?,
            prepared,
            state: State::New,
        })
    }

    pub(super) fn keep_portal(&mut self, name: String, portal: Portal) -> Result<()> {
        if !name.is_empty() && self.portals.contains_key(&name) {
            return Err(PgError::new(
                "42P03",
                format!("portal {name:?} already exists"),
            ));
        }
        self.portals.remove(&name);
        self.admit(portal.bytes())?;
        self.portals.insert(name, portal);
        Ok(())
    }

    /// Whether one more statement or portal of so many bytes may be kept.
    fn admit(&self, bytes: usize) -> Result<()> {
        let options = &self.shared.parts.options;
        let statements = self.statements.values().map(|kept| kept.bytes());
        let held: usize = statements
            .chain(self.portals.values().map(Portal::bytes))
            .sum();
        let many = self.statements.len().max(self.portals.len()) as u64 >= options.statements_max;
        if many || (held + bytes) as u64 > options.statements_max_bytes {
            let message = "as many prepared statements or portals are open as may: pg.statements_max, \
                           pg.statements_max_bytes";
            return Err(PgError::new("53400", message));
        }
        Ok(())
    }

    fn statement(&self, name: &str) -> Result<&Arc<Prepared>> {
        self.statements.get(name).ok_or_else(|| {
            PgError::new(
                "26000",
                format!("prepared statement {name:?} does not exist"),
            )
        })
    }

    pub(super) fn describe(&mut self, target: &Target) -> Outcome<()> {
        let (prepared, binary) = match target {
            Target::Statement(name) => {
                let prepared = self.statement(name)?.clone();
                let oids = prepared.types.iter().map(Type::oid).collect();
                let takes = ParameterDescription::new(oids);
                self.wire
                    .put(&PgWireBackendMessage::ParameterDescription(takes))?;
                (prepared, Vec::new())
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (portal.prepared.clone(), portal.binary.clone())
            }
        };
        if prepared.columns.is_empty() {
            self.wire.put(&PgWireBackendMessage::NoData(NoData::new()))
        } else {
            self.wire.put(&description(&prepared.columns, &binary))
        }
    }
}
