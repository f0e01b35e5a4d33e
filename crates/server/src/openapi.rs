//! The OpenAPI document, made of the routes themselves.

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};

use crate::AppState;
use crate::routes::logsql;
use crate::routes::views::{context, facets, fields, histogram, patterns};
use crate::routes::{admin, fleet, health, ingest, query, sql, tail};

/// What the document says beside its routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Logmill",
        description = "Takes logs in, keeps them, and answers questions about them. \
                       Errors have one shape everywhere; times may be RFC 3339, epochs in s, ms, us or ns, or relative \
                       (`now`, `-15m`, `now-1h`); the tenant is the credential's, or the header `X-Tenant-ID` where the credential \
                       allows it, `default` without both.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "ingest", description = "Records in."),
        (name = "ask", description = "Records and answers out."),
        (name = "page", description = "What a log page draws."),
        (name = "victorialogs", description = "VictoriaLogs' HTTP API, for its clients."),
        (name = "operation", description = "Health, metrics, administration."),
        (name = "access", description = "Tenants, keys, and the log of what was done.")
    ),
    modifiers(&Credentials),
    security(("bearer" = []), ("basic" = []), ("key" = []))
)]
struct Document;

/// The ways to show a credential.
struct Credentials;

impl utoipa::Modify for Credentials {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let basic = SecurityScheme::Http(Http::new(HttpAuthScheme::Basic));
        let key = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key")));
        components.add_security_scheme("bearer", bearer);
        components.add_security_scheme("basic", basic);
        components.add_security_scheme("key", key);
    }
}

/// Routes that are answered without a credential, or ask for it themselves.
pub(crate) fn open_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .route("/", axum::routing::get(health::home))
}

/// Routes that take a credential.
pub(crate) fn protected_routes() -> OpenApiRouter<AppState> {
    let mut router = OpenApiRouter::new()
        .routes(routes!(ingest::ingest))
        .routes(routes!(query::post_query, query::get_query))
        .routes(routes!(sql::sql))
        .routes(routes!(histogram::histogram))
        .routes(routes!(facets::facets))
        .routes(routes!(fields::fields))
        .routes(routes!(fields::values))
        .routes(routes!(context::context))
        .routes(routes!(patterns::patterns))
        .routes(routes!(logsql::query::query))
        .routes(routes!(logsql::tail::tail))
        .routes(routes!(logsql::hits::hits))
        .routes(routes!(logsql::facets::facets))
        .routes(routes!(logsql::stats::stats_query))
        .routes(routes!(logsql::stats::stats_query_range))
        .routes(routes!(logsql::values::stream_ids))
        .routes(routes!(logsql::values::streams))
        .routes(routes!(logsql::values::stream_field_names))
        .routes(routes!(logsql::values::stream_field_values))
        .routes(routes!(logsql::values::field_names))
        .routes(routes!(logsql::values::field_values))
        .routes(routes!(logsql::insert::jsonline))
        .routes(routes!(tail::tail))
        .routes(routes!(admin::flush))
        .routes(routes!(admin::compact))
        .routes(routes!(admin::segments))
        .routes(routes!(admin::delete))
        .routes(routes!(admin::deletes))
        .routes(routes!(admin::delete_status))
        .routes(routes!(admin::tenants::list, admin::tenants::create))
        .routes(routes!(admin::tenants::show, admin::tenants::change))
        .routes(routes!(admin::keys::list, admin::keys::create))
        .routes(routes!(admin::keys::show, admin::keys::revoke))
        .routes(routes!(admin::audit::audit))
        .routes(routes!(fleet::processes))
        .routes(routes!(fleet::jobs))
        .routes(routes!(fleet::letters))
        .routes(routes!(fleet::letter, fleet::drop_letter))
        .routes(routes!(fleet::retry_letter));
    name_operations(router.get_openapi_mut());
    router
}

/// Gives every operation a name of its own, made of its method and path: handlers of different paths are called alike,
/// and some answer two methods.
fn name_operations(document: &mut utoipa::openapi::OpenApi) {
    for (path, item) in &mut document.paths.paths {
        let name = path.replace('/', "_").replace(['{', '}'], "");
        let operations = [
            ("get", &mut item.get),
            ("post", &mut item.post),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in operations {
            if let Some(operation) = operation {
                operation.operation_id = Some(format!("{method}{name}"));
            }
        }
    }
}

/// The document as JSON.
pub fn document() -> Result<String, serde_json::Error> {
    let routes = open_routes().merge(protected_routes());
    routes.into_openapi().to_pretty_json()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn no_two_operations_have_the_same_name() {
        let document: serde_json::Value =
            serde_json::from_str(&super::document().unwrap()).unwrap();
        let mut names = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let name = operation["operationId"].as_str().unwrap().to_owned();
                assert!(names.insert(name.clone()), "{method} {path}: {name}");
            }
        }
    }

    #[test]
    fn the_document_is_what_it_was() {
        insta::assert_snapshot!(super::document().unwrap());
    }
}
