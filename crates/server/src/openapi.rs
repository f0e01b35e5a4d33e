//! The OpenAPI document, made of the routes themselves.

use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;
use crate::routes::{admin, fleet, health, ingest, query, sql};

/// What the document says beside its routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Logmill",
        description = "Takes logs in, keeps them, and answers questions about them. \
                       Errors have one shape everywhere; times may be RFC 3339, epochs in s, ms, us or ns, or relative \
                       (`now`, `-15m`, `now-1h`); the tenant is the header `X-Tenant-ID`, `default` without it.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    tags(
        (name = "ingest", description = "Records in."),
        (name = "ask", description = "Records and answers out."),
        (name = "operation", description = "Health, metrics, administration.")
    )
)]
struct Document;

/// All routes that the document describes.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(ingest::ingest))
        .routes(routes!(query::post_query, query::get_query))
        .routes(routes!(sql::sql))
        .routes(routes!(health::health))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .routes(routes!(admin::flush))
        .routes(routes!(admin::compact))
        .routes(routes!(admin::segments))
        .routes(routes!(admin::delete))
        .routes(routes!(admin::deletes))
        .routes(routes!(admin::delete_status))
        .routes(routes!(fleet::processes))
        .routes(routes!(fleet::jobs))
        .routes(routes!(fleet::letters))
        .routes(routes!(fleet::letter, fleet::drop_letter))
        .routes(routes!(fleet::retry_letter))
        .route("/", axum::routing::get(health::home))
}

/// The document as JSON.
pub fn document() -> Result<String, serde_json::Error> {
    routes().into_openapi().to_pretty_json()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_document_is_what_it_was() {
        insta::assert_snapshot!(super::document().unwrap());
    }
}
