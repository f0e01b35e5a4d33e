//! The query engine: structured queries and SQL on DataFusion over the store.
