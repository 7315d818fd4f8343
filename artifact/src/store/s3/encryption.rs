//! Encryption at rest, as headers of the requests that store and load, and as the default of a bucket we make.

use aws_sdk_s3::operation::create_multipart_upload::builders::CreateMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::get_object::builders::GetObjectFluentBuilder;
use aws_sdk_s3::operation::head_object::builders::HeadObjectFluentBuilder;
use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::operation::upload_part::builders::UploadPartFluentBuilder;
use aws_sdk_s3::types::{
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration, ServerSideEncryptionRule,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::customer_key::{self, ALGORITHM};
use super::{Encryption, Inner, fault};
use crate::error::{Error, Result};

/// What the requests for one object carry.
#[derive(Clone)]
pub(super) struct Headers {
    mode: Option<ServerSideEncryption>,
    kms_key: Option<String>,
    kms_context: Option<String>,
    customer_key: Option<String>,
}

/// The headers for `key`.
pub(super) fn headers(inner: &Inner, key: &str) -> Result<Headers> {
    let none = Headers { mode: None, kms_key: None, kms_context: None, customer_key: None };
    Ok(match &inner.config.encryption {
        Encryption::None => none,
        Encryption::Managed => Headers { mode: Some(ServerSideEncryption::Aes256), ..none },
        Encryption::Kms { key, context } => Headers {
            mode: Some(ServerSideEncryption::AwsKms),
            kms_key: Some(key.clone()),
            kms_context: (!context.is_empty()).then(|| STANDARD.encode(context)),
            ..none
        },
        Encryption::Customer(password) => {
            let derived = customer_key::derive(password.expose(), &inner.config.bucket, key)?;
            Headers { customer_key: Some(derived), ..none }
        }
    })
}

/// Adds the customer key to a request; reading needs it as writing does.
macro_rules! with_customer_key {
    ($request:expr, $headers:expr) => {
        match &$headers.customer_key {
            None => $request,
            Some(key) => $request.sse_customer_algorithm(ALGORITHM).sse_customer_key(key),
        }
    };
}

impl Headers {
    pub(super) fn get(&self, request: GetObjectFluentBuilder) -> GetObjectFluentBuilder {
        with_customer_key!(request, self)
    }

    pub(super) fn head(&self, request: HeadObjectFluentBuilder) -> HeadObjectFluentBuilder {
        with_customer_key!(request, self)
    }

    pub(super) fn part(&self, request: UploadPartFluentBuilder) -> UploadPartFluentBuilder {
        with_customer_key!(request, self)
    }

    pub(super) fn put(&self, request: PutObjectFluentBuilder) -> PutObjectFluentBuilder {
        with_customer_key!(request, self)
            .set_server_side_encryption(self.mode.clone())
            .set_ssekms_key_id(self.kms_key.clone())
            .set_ssekms_encryption_context(self.kms_context.clone())
    }

    pub(super) fn multipart(&self, request: CreateMultipartUploadFluentBuilder) -> CreateMultipartUploadFluentBuilder {
        with_customer_key!(request, self)
            .set_server_side_encryption(self.mode.clone())
            .set_ssekms_key_id(self.kms_key.clone())
            .set_ssekms_encryption_context(self.kms_context.clone())
    }
}

/// Makes encryption the default of a new bucket (argo: s3.go, setBucketEnc).
pub(super) async fn of_bucket(inner: &Inner) -> Result<()> {
    let builder = ServerSideEncryptionByDefault::builder();
    let builder = match &inner.config.encryption {
        Encryption::None => return Ok(()),
        Encryption::Kms { key, .. } => builder.sse_algorithm(ServerSideEncryption::AwsKms).kms_master_key_id(key),
        Encryption::Managed | Encryption::Customer(_) => builder.sse_algorithm(ServerSideEncryption::Aes256),
    };
    let doing = || format!("encrypting bucket {:?}", inner.config.bucket);
    let wrong = |error: aws_sdk_s3::error::BuildError| Error::permanent(doing(), error);
    let rule = ServerSideEncryptionRule::builder()
        .apply_server_side_encryption_by_default(builder.build().map_err(wrong)?)
        .build();
    let rules = ServerSideEncryptionConfiguration::builder().rules(rule).build().map_err(wrong)?;
    let request = inner.client.put_bucket_encryption().bucket(&inner.config.bucket);
    let response = request.server_side_encryption_configuration(rules).send().await;
    response.map(|_| ()).map_err(|error| fault(doing(), error))
}
