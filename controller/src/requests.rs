//! Requests of no special kind: each waits for its turn, and is sent again for as long as that can help.

use serde::de::DeserializeOwned;
use serde_json::Value;
use tiphys_kubernetes::{ApiError, retried};

use crate::cluster::Cluster;

impl Cluster {
    /// Sends a request, each time when it is its turn, until it is answered for good.
    ///
    /// # Errors
    /// What sending it again cannot help.
    pub async fn retried<T, F>(&self, request: impl Fn() -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        retried(|| self.other.send(request())).await
    }

    /// Reads an object.
    ///
    /// # Errors
    /// As [`Cluster::retried`].
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, ApiError> {
        self.retried(|| self.api.get(path)).await
    }

    /// Makes an object. Tells whether it was made now, and not there already.
    ///
    /// # Errors
    /// As [`Cluster::retried`].
    pub async fn make(&self, collection: &str, object: &Value) -> Result<bool, ApiError> {
        match self.retried(|| self.api.create(collection, object)).await {
            Err(error) if error.is_already_there() => Ok(false),
            answer => answer.map(|_| true),
        }
    }

    /// Changes an object.
    ///
    /// # Errors
    /// As [`Cluster::retried`].
    pub async fn change(&self, path: &str, patch: &Value) -> Result<(), ApiError> {
        self.retried(|| self.api.patch(path, patch)).await.map(|_| ())
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// As [`Cluster::retried`].
    pub async fn remove(&self, path: &str, options: &Value) -> Result<(), ApiError> {
        self.retried(|| self.api.delete(path, options)).await
    }
}
