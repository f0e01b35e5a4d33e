//! Calls of `/admin/…` for the commands about tenants and keys.

use http::Method;
use serde_json::Value;

use crate::http_client::{HttpClient, Outgoing, ServerArguments};

/// A server that is administered.
#[derive(Debug)]
pub struct Administration {
    client: HttpClient,
}

impl Administration {
    /// Of the server that the arguments name; nothing is sent yet.
    pub fn new(server: &ServerArguments) -> anyhow::Result<Self> {
        Ok(Self {
            client: HttpClient::new(server)?,
        })
    }

    /// Asks for what is at a path.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.call(Outgoing::get(path)).await
    }

    /// Sends a body to a path.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.call(Outgoing::post(path, "application/json", body.to_string()))
            .await
    }

    /// Changes what is at a path.
    pub async fn patch(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let post = Outgoing::post(path, "application/json", body.to_string());
        let method = Method::PATCH;
        self.call(Outgoing { method, ..post }).await
    }

    /// Removes what is at a path.
    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        let get = Outgoing::get(path);
        let method = Method::DELETE;
        self.call(Outgoing { method, ..get }).await
    }

    async fn call(&self, request: Outgoing) -> anyhow::Result<Value> {
        let answer = self.client.call(&request).await?.success()?;
        Ok(serde_json::from_slice(&answer.body)?)
    }
}
