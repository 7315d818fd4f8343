//! Bearer tokens: asked for once, kept until shortly before they expire.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::rest;
use crate::error::Result;
use crate::retry::Retry;
use crate::secret::Secret;

/// A token this close to its end is not used for a new request.
const MARGIN: Duration = Duration::from_secs(60);

/// Where tokens come from.
#[async_trait]
pub(super) trait Source: fmt::Debug + Send + Sync {
    /// A new token.
    async fn ask(&self) -> Result<Token>;
}

/// A token and how long it lasts from now on.
pub(super) struct Token {
    text: Secret,
    lasts: Duration,
}

impl Token {
    /// The token of an OAuth2 answer. Azure's older services write the number as text.
    pub(super) fn of(doing: &str, answer: &Value) -> Result<Self> {
        let text = Secret::new(rest::field(doing, answer, "access_token")?);
        let lasts = &answer["expires_in"];
        let seconds = lasts.as_u64().or_else(|| lasts.as_str()?.parse().ok()).unwrap_or_default();
        Ok(Token { text, lasts: Duration::from_secs(seconds) })
    }
}

/// The token in use.
#[derive(Debug)]
pub(super) struct Tokens {
    source: Box<dyn Source>,
    retry: Retry,
    current: Mutex<Option<(Secret, Instant)>>,
}

impl Tokens {
    pub(super) fn new(source: impl Source + 'static, retry: &Retry) -> Self {
        Tokens { source: Box::new(source), retry: retry.clone(), current: Mutex::default() }
    }

    /// The value of the `Authorization` header.
    pub(super) async fn authorization(&self) -> Result<Secret> {
        // All requests wait for the one that asks.
        let mut current = self.current.lock().await;
        if let Some((token, until)) = &*current
            && Instant::now() + MARGIN < *until
        {
            return Ok(token.clone());
        }
        let token = self.retry.run("asking for a token", || self.source.ask()).await?;
        let header = Secret::new(format!("Bearer {}", token.text.expose()));
        *current = Some((header.clone(), Instant::now() + token.lasts));
        Ok(header)
    }
}
