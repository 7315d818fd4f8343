//! The server as its clients see it: the AWS SDK against a folder of its own.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod faults;
mod keys;
mod listing;
mod multipart;
mod objects;

use std::path::PathBuf;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use tempfile::TempDir;
use tiphys_s3server::S3Server;

/// A server with the bucket `bucket`, and a client for it.
struct Running {
    server: S3Server,
    client: Client,
    root: TempDir,
}

impl Running {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let server = S3Server::start(root.path(), &["bucket"]).await.unwrap();
        let client = client(server.endpoint(), server.access_key(), server.secret_key().expose());
        Self { server, client, root }
    }

    fn file(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    async fn put(&self, key: &str, text: &str) {
        let body = ByteStream::from(text.as_bytes().to_vec());
        self.client.put_object().bucket("bucket").key(key).body(body).send().await.unwrap();
    }

    async fn get(&self, key: &str) -> String {
        let answer = self.client.get_object().bucket("bucket").key(key).send().await.unwrap();
        String::from_utf8(answer.body.collect().await.unwrap().to_vec()).unwrap()
    }

    /// Everything below the server's folder but its own files, as sorted relative paths.
    fn tree(&self) -> Vec<String> {
        fn walk(folder: &std::path::Path, base: &str, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let name = format!("{base}{}", entry.file_name().to_str().unwrap());
                match entry.file_type().unwrap().is_dir() {
                    true if name == ".tiphys-s3" => {}
                    true => walk(&entry.path(), &format!("{name}/"), found),
                    false => found.push(name),
                }
            }
        }
        let mut found = Vec::new();
        walk(self.root.path(), "", &mut found);
        found.sort();
        found
    }

    /// Files of bodies that are neither objects nor gone.
    fn leftovers(&self) -> usize {
        ["tmp", "uploads"]
            .iter()
            .map(|name| std::fs::read_dir(self.file(&format!(".tiphys-s3/{name}"))).unwrap().count())
            .sum()
    }
}

fn client(endpoint: &str, access_key: &str, secret_key: &str) -> Client {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(format!("http://{endpoint}"))
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(access_key, secret_key, None, None, "test"))
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    Client::from_conf(config.build())
}

/// The error's S3 code and the HTTP status.
#[track_caller]
fn failure<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug>(
    result: Result<T, SdkError<E>>,
) -> (String, u16) {
    let error = result.unwrap_err();
    let status = error.raw_response().unwrap().status().as_u16();
    (error.code().unwrap_or_default().to_owned(), status)
}

/// Bytes that differ from place to place.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}
