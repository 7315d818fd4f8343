//! Artifacts, where they are kept, and the repositories that locations default to.

use serde_json::Value;

use crate::kube::KeySelector;
use crate::object::object;
use crate::template::Metadata;

object! {
    /// A file or directory that is passed between steps, and where it is kept.
    pub struct Artifact {
        "name" => name: String,
        "path" => path: String,
        "mode" => mode: Option<i64>,
        "from" => from: String,
        "archiveLogs" => archive_logs: Option<bool>,
        "s3" => s3: Option<Box<S3Artifact>>,
        "git" => git: Option<Box<GitArtifact>>,
        "http" => http: Option<Box<HttpArtifact>>,
        "artifactory" => artifactory: Option<Box<ArtifactoryArtifact>>,
        "hdfs" => hdfs: Option<Box<HdfsArtifact>>,
        "raw" => raw: Option<Box<RawArtifact>>,
        "oss" => oss: Option<Box<OssArtifact>>,
        "gcs" => gcs: Option<Box<GcsArtifact>>,
        "azure" => azure: Option<Box<AzureArtifact>>,
        "plugin" => plugin: Option<Box<PluginArtifact>>,
        "globalName" => global_name: String,
        "archive" => archive: Option<Box<ArchiveStrategy>>,
        "optional" => optional: bool,
        "subPath" => sub_path: String,
        "recurseMode" => recurse_mode: bool,
        "fromExpression" => from_expression: String,
        "artifactGC" => artifact_gc: Option<Box<ArtifactGc>>,
        "deleted" => deleted: bool,
    }
}

object! {
    /// Where an artifact is kept: at most one store.
    pub struct ArtifactLocation {
        "archiveLogs" => archive_logs: Option<bool>,
        "s3" => s3: Option<Box<S3Artifact>>,
        "git" => git: Option<Box<GitArtifact>>,
        "http" => http: Option<Box<HttpArtifact>>,
        "artifactory" => artifactory: Option<Box<ArtifactoryArtifact>>,
        "hdfs" => hdfs: Option<Box<HdfsArtifact>>,
        "raw" => raw: Option<Box<RawArtifact>>,
        "oss" => oss: Option<Box<OssArtifact>>,
        "gcs" => gcs: Option<Box<GcsArtifact>>,
        "azure" => azure: Option<Box<AzureArtifact>>,
        "plugin" => plugin: Option<Box<PluginArtifact>>,
    }
}

object! {
    /// How an artifact is packed.
    pub struct ArchiveStrategy {
        "tar" => tar: Option<Box<TarStrategy>>,
        "none" => none: Option<Value>,
        "zip" => zip: Option<Value>,
    }
}

object! {
    /// Tar and gzip.
    pub struct TarStrategy {
        "compressionLevel" => compression_level: Option<i64>,
    }
}

object! {
    /// When an artifact is deleted, and as whom.
    pub struct ArtifactGc {
        "strategy" => strategy: String,
        "podMetadata" => pod_metadata: Option<Box<Metadata>>,
        "serviceAccountName" => service_account_name: String,
    }
}

object! {
    /// Artifact deletion for the whole workflow.
    pub struct WorkflowLevelArtifactGc {
        "strategy" => strategy: String,
        "podMetadata" => pod_metadata: Option<Box<Metadata>>,
        "serviceAccountName" => service_account_name: String,
        "forceFinalizerRemoval" => force_finalizer_removal: bool,
        "podSpecPatch" => pod_spec_patch: String,
    }
}

object! {
    /// An object, or a prefix, in an S3 bucket.
    pub struct S3Artifact {
        "endpoint" => endpoint: String,
        "bucket" => bucket: String,
        "region" => region: String,
        "insecure" => insecure: Option<bool>,
        "accessKeySecret" => access_key_secret: Option<KeySelector>,
        "secretKeySecret" => secret_key_secret: Option<KeySelector>,
        "sessionTokenSecret" => session_token_secret: Option<KeySelector>,
        "roleARN" => role_arn: String,
        "useSDKCreds" => use_sdk_creds: bool,
        "createBucketIfNotPresent" => create_bucket_if_not_present: Option<Box<CreateS3BucketOptions>>,
        "encryptionOptions" => encryption_options: Option<Box<S3EncryptionOptions>>,
        "caSecret" => ca_secret: Option<KeySelector>,
        "addressingStyle" => addressing_style: String,
        "key" => key: String,
    }
}

object! {
    /// Encryption at rest in S3.
    pub struct S3EncryptionOptions {
        "kmsKeyId" => kms_key_id: String,
        "kmsEncryptionContext" => kms_encryption_context: String,
        "enableEncryption" => enable_encryption: bool,
        "serverSideCustomerKeySecret" => server_side_customer_key_secret: Option<KeySelector>,
    }
}

object! {
    /// How a missing bucket is made.
    pub struct CreateS3BucketOptions {
        "objectLocking" => object_locking: bool,
    }
}

object! {
    /// A git repository to clone.
    pub struct GitArtifact {
        "repo" => repo: String,
        "revision" => revision: String,
        "depth" => depth: Option<i64>,
        "fetch" => fetch: Vec<String>,
        "usernameSecret" => username_secret: Option<KeySelector>,
        "passwordSecret" => password_secret: Option<KeySelector>,
        "sshPrivateKeySecret" => ssh_private_key_secret: Option<KeySelector>,
        "insecureIgnoreHostKey" => insecure_ignore_host_key: bool,
        "disableSubmodules" => disable_submodules: bool,
        "singleBranch" => single_branch: bool,
        "branch" => branch: String,
        "insecureSkipTLS" => insecure_skip_tls: bool,
    }
}

object! {
    /// A file behind a URL.
    pub struct HttpArtifact {
        "url" => url: String,
        "headers" => headers: Vec<Header>,
        "auth" => auth: Option<Box<HttpAuth>>,
        "saveStreamViaFile" => save_stream_via_file: bool,
    }
}

object! {
    /// How to authenticate to a URL.
    pub struct HttpAuth {
        "clientCert" => client_cert: ClientCertAuth,
        "oauth2" => oauth2: OAuth2Auth,
        "basicAuth" => basic_auth: BasicAuth,
    }
}

object! {
    /// A request header.
    pub struct Header {
        "name" => name: String,
        "value" => value: String,
    }
}

object! {
    /// User name and password from Secrets.
    pub struct BasicAuth {
        "usernameSecret" => username_secret: Option<KeySelector>,
        "passwordSecret" => password_secret: Option<KeySelector>,
    }
}

object! {
    /// A client certificate from Secrets.
    pub struct ClientCertAuth {
        "clientCertSecret" => client_cert_secret: Option<KeySelector>,
        "clientKeySecret" => client_key_secret: Option<KeySelector>,
    }
}

object! {
    /// OAuth2 client credentials from Secrets.
    pub struct OAuth2Auth {
        "clientIDSecret" => client_id_secret: Option<KeySelector>,
        "clientSecretSecret" => client_secret_secret: Option<KeySelector>,
        "tokenURLSecret" => token_url_secret: Option<KeySelector>,
        "scopes" => scopes: Vec<String>,
        "endpointParams" => endpoint_params: Vec<OAuth2EndpointParam>,
    }
}

object! {
    /// A parameter of the token request.
    pub struct OAuth2EndpointParam {
        "key" => key: String,
        "value" => value: String,
    }
}

object! {
    /// A file in Artifactory.
    pub struct ArtifactoryArtifact {
        "url" => url: String,
        "usernameSecret" => username_secret: Option<KeySelector>,
        "passwordSecret" => password_secret: Option<KeySelector>,
    }
}

object! {
    /// A path in HDFS.
    pub struct HdfsArtifact {
        "krbCCacheSecret" => krb_ccache_secret: Option<KeySelector>,
        "krbKeytabSecret" => krb_keytab_secret: Option<KeySelector>,
        "krbUsername" => krb_username: String,
        "krbRealm" => krb_realm: String,
        "krbConfigConfigMap" => krb_config_config_map: Option<KeySelector>,
        "krbServicePrincipalName" => krb_service_principal_name: String,
        "addresses" => addresses: Vec<String>,
        "hdfsUser" => hdfs_user: String,
        "dataTransferProtection" => data_transfer_protection: String,
        "path" => path: String,
        "force" => force: bool,
    }
}

impl HdfsArtifact {
    /// What to do instead of a `holder.hdfs`. Hadoop's own protocol is not spoken: its Kerberos libraries cannot be loaded
    /// into a static program, and without Kerberos few clusters take it. The same files are to be had by WebHDFS.
    pub fn refusal(&self, holder: &str) -> String {
        let address = self.addresses.first();
        let namenode = address.map_or("NAMENODE", |address| address.split(':').next().unwrap_or(address));
        let path = self.path.trim_start_matches('/');
        format!(
            "{holder}.hdfs is not supported by Tiphys: use {holder}.http with the cluster's WebHDFS address, such as \
             http://{namenode}:9870/webhdfs/v1/{path}?op=OPEN for an input and ?op=CREATE&overwrite=true for an output"
        )
    }
}

object! {
    /// Text given in place.
    pub struct RawArtifact {
        "data" => data: String,
    }
}

object! {
    /// An object in Alibaba OSS.
    pub struct OssArtifact {
        "endpoint" => endpoint: String,
        "bucket" => bucket: String,
        "accessKeySecret" => access_key_secret: Option<KeySelector>,
        "secretKeySecret" => secret_key_secret: Option<KeySelector>,
        "createBucketIfNotPresent" => create_bucket_if_not_present: bool,
        "securityToken" => security_token: String,
        "lifecycleRule" => lifecycle_rule: Option<Box<OssLifecycleRule>>,
        "useSDKCreds" => use_sdk_creds: bool,
        "key" => key: String,
    }
}

object! {
    /// When objects in OSS get colder or go.
    pub struct OssLifecycleRule {
        "markInfrequentAccessAfterDays" => mark_infrequent_access_after_days: i64,
        "markDeletionAfterDays" => mark_deletion_after_days: i64,
    }
}

object! {
    /// An object in Google Cloud Storage.
    pub struct GcsArtifact {
        "bucket" => bucket: String,
        "serviceAccountKeySecret" => service_account_key_secret: Option<KeySelector>,
        "key" => key: String,
    }
}

object! {
    /// A blob in Azure.
    pub struct AzureArtifact {
        "endpoint" => endpoint: String,
        "container" => container: String,
        "accountKeySecret" => account_key_secret: Option<KeySelector>,
        "useSDKCreds" => use_sdk_creds: bool,
        "blob" => blob: String,
    }
}

object! {
    /// An artifact kept by a plugin.
    pub struct PluginArtifact {
        "name" => name: String,
        "configuration" => configuration: String,
        "connectionTimeoutSeconds" => connection_timeout_seconds: i64,
        "key" => key: String,
    }
}

object! {
    /// Names an entry of a ConfigMap of artifact repositories.
    pub struct ArtifactRepositoryRef {
        "configMap" => config_map: String,
        "key" => key: String,
    }
}

object! {
    /// Where artifacts without a location of their own go.
    pub struct ArtifactRepository {
        "archiveLogs" => archive_logs: Option<bool>,
        "s3" => s3: Option<Box<S3ArtifactRepository>>,
        "artifactory" => artifactory: Option<Box<ArtifactoryArtifactRepository>>,
        "hdfs" => hdfs: Option<Box<HdfsArtifactRepository>>,
        "oss" => oss: Option<Box<OssArtifactRepository>>,
        "gcs" => gcs: Option<Box<GcsArtifactRepository>>,
        "azure" => azure: Option<Box<AzureArtifactRepository>>,
        "plugin" => plugin: Option<Box<PluginArtifactRepository>>,
    }
}

object! {
    /// A bucket and the format of keys in it.
    pub struct S3ArtifactRepository {
        "endpoint" => endpoint: String,
        "bucket" => bucket: String,
        "region" => region: String,
        "insecure" => insecure: Option<bool>,
        "accessKeySecret" => access_key_secret: Option<KeySelector>,
        "secretKeySecret" => secret_key_secret: Option<KeySelector>,
        "sessionTokenSecret" => session_token_secret: Option<KeySelector>,
        "roleARN" => role_arn: String,
        "useSDKCreds" => use_sdk_creds: bool,
        "createBucketIfNotPresent" => create_bucket_if_not_present: Option<Box<CreateS3BucketOptions>>,
        "encryptionOptions" => encryption_options: Option<Box<S3EncryptionOptions>>,
        "caSecret" => ca_secret: Option<KeySelector>,
        "addressingStyle" => addressing_style: String,
        "keyFormat" => key_format: String,
        "keyPrefix" => key_prefix: String,
    }
}

object! {
    /// A bucket and the format of keys in it.
    pub struct OssArtifactRepository {
        "endpoint" => endpoint: String,
        "bucket" => bucket: String,
        "accessKeySecret" => access_key_secret: Option<KeySelector>,
        "secretKeySecret" => secret_key_secret: Option<KeySelector>,
        "createBucketIfNotPresent" => create_bucket_if_not_present: bool,
        "securityToken" => security_token: String,
        "lifecycleRule" => lifecycle_rule: Option<Box<OssLifecycleRule>>,
        "useSDKCreds" => use_sdk_creds: bool,
        "keyFormat" => key_format: String,
    }
}

object! {
    /// A bucket and the format of keys in it.
    pub struct GcsArtifactRepository {
        "bucket" => bucket: String,
        "serviceAccountKeySecret" => service_account_key_secret: Option<KeySelector>,
        "keyFormat" => key_format: String,
    }
}

object! {
    /// A repository and the format of keys in it.
    pub struct ArtifactoryArtifactRepository {
        "usernameSecret" => username_secret: Option<KeySelector>,
        "passwordSecret" => password_secret: Option<KeySelector>,
        "repoURL" => repo_url: String,
        "keyFormat" => key_format: String,
    }
}

object! {
    /// A container and the format of blob names in it.
    pub struct AzureArtifactRepository {
        "endpoint" => endpoint: String,
        "container" => container: String,
        "accountKeySecret" => account_key_secret: Option<KeySelector>,
        "useSDKCreds" => use_sdk_creds: bool,
        "blobNameFormat" => blob_name_format: String,
    }
}

object! {
    /// A file system and the format of paths in it.
    pub struct HdfsArtifactRepository {
        "krbCCacheSecret" => krb_ccache_secret: Option<KeySelector>,
        "krbKeytabSecret" => krb_keytab_secret: Option<KeySelector>,
        "krbUsername" => krb_username: String,
        "krbRealm" => krb_realm: String,
        "krbConfigConfigMap" => krb_config_config_map: Option<KeySelector>,
        "krbServicePrincipalName" => krb_service_principal_name: String,
        "addresses" => addresses: Vec<String>,
        "hdfsUser" => hdfs_user: String,
        "dataTransferProtection" => data_transfer_protection: String,
        "pathFormat" => path_format: String,
        "force" => force: bool,
    }
}

object! {
    /// A plugin and the format of keys in it.
    pub struct PluginArtifactRepository {
        "name" => name: String,
        "keyFormat" => key_format: String,
        "configuration" => configuration: String,
    }
}

macro_rules! locations {
    ($($field:ident),*) => {
        impl Artifact {
            /// The artifact's own location, without name, path and packing.
            pub fn location(&self) -> ArtifactLocation {
                ArtifactLocation {
                    archive_logs: self.archive_logs,
                    $($field: self.$field.clone(),)*
                    extra: Default::default(),
                }
            }

            /// Replaces the artifact's location.
            pub fn set_location(&mut self, location: ArtifactLocation) {
                self.archive_logs = location.archive_logs;
                $(self.$field = location.$field;)*
            }
        }

        impl ArtifactLocation {
            /// The store that is named, as the field of the manifest (`s3`, `git`, …); None where there is none.
            pub fn store(&self) -> Option<&'static str> {
                $(if self.$field.is_some() { return Some(stringify!($field)); })*
                None
            }
        }
    };
}
locations!(s3, git, http, artifactory, hdfs, raw, oss, gcs, azure, plugin);
