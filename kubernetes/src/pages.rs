//! A list, a page at a time. Source: Kubernetes API concepts, "Retrieving large results sets in chunks".

use serde::de::DeserializeOwned;

use crate::api::Api;
use crate::error::ApiError;
use crate::objects::List;
use crate::path::Collection;

/// Objects a page, where nothing else is wanted.
const PAGE: &str = "500";

/// What is still to come of a list.
pub struct Pages<'a> {
    api: &'a Api,
    collection: &'a Collection,
    query: Vec<(&'a str, &'a str)>,
    limit: &'a str,
    accept: &'static str,
    /// Where the next page begins; None when there is no more.
    next: Option<String>,
}

impl<'a> Pages<'a> {
    /// The objects of a collection that a query (`labelSelector`, `fieldSelector`) selects; an empty selector selects all.
    pub fn new(api: &'a Api, collection: &'a Collection, query: &[(&'a str, &'a str)]) -> Pages<'a> {
        let query = query.iter().copied().filter(|(_, selector)| !selector.is_empty()).collect();
        Pages { api, collection, query, limit: PAGE, accept: "application/json", next: Some(String::new()) }
    }

    /// With so many objects a page.
    #[must_use]
    pub fn of(self, limit: &'a str) -> Pages<'a> {
        Pages { limit, ..self }
    }

    /// In a form of its own (`Accept`).
    #[must_use]
    pub fn read_as(self, accept: &'static str) -> Pages<'a> {
        Pages { accept, ..self }
    }

    /// The next page, or None after the last. After an error the same page comes next.
    ///
    /// # Errors
    /// See [`ApiError`]. One that [`is_gone`](ApiError::is_gone) says that the server no longer knows the list as it was when
    /// it was begun: it begins anew, and what was read of it counts for nothing.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<List<T>>, ApiError> {
        let Some(next) = &self.next else { return Ok(None) };
        let mut query = self.query.clone();
        query.push(("limit", self.limit));
        if !next.is_empty() {
            query.push(("continue", next));
        }
        let page = self.api.get_as::<List<T>>(&self.collection.query(&query), self.accept).await;
        match &page {
            Ok(page) => self.next = Some(page.metadata.r#continue.clone()).filter(|next| !next.is_empty()),
            Err(error) if error.is_gone() => self.next = Some(String::new()),
            Err(_) => {}
        }
        page.map(Some)
    }
}
