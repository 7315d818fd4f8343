//! The variables of the process that clouds' own libraries and git's read: which identity a Pod has, where to ask for
//! it, and where the known hosts are. They are taken once, with all other settings; nothing in this crate looks at the
//! environment later.

use std::collections::BTreeMap;
use std::fmt;

use crate::secret::Secret;

/// Every variable that is taken.
pub const VARIABLES: [&str; 37] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GCE_METADATA_HOST",
    "STORAGE_EMULATOR_HOST",
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABA_CLOUD_ROLE_ARN",
    "ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
    "ALIBABA_CLOUD_OIDC_TOKEN_FILE",
    "ALIBABA_CLOUD_STS_ENDPOINT",
    "SSH_KNOWN_HOSTS",
    "HOME",
];

/// The values of [`VARIABLES`]. Some are credentials, so none is ever printed.
#[derive(Clone, Default, PartialEq)]
pub struct Environment(BTreeMap<&'static str, Secret>);

impl Environment {
    /// Takes the variables through a look-up function; an empty one counts as not set, as for the clouds' libraries.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name: &'static str| Some((name, Secret::new(lookup(name).filter(|value| !value.is_empty())?)));
        Environment(VARIABLES.into_iter().filter_map(set).collect())
    }

    /// The variable `name`, where it is set.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::expose)
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_not_printed_and_empty_ones_not_set() {
        let environment = Environment::from_lookup(|name| match name {
            "AWS_SECRET_ACCESS_KEY" => Some("hunter2".into()),
            "AWS_REGION" => Some(String::new()),
            _ => None,
        });
        assert_eq!(environment.get("AWS_SECRET_ACCESS_KEY"), Some("hunter2"));
        assert_eq!(environment.get("AWS_REGION"), None);
        assert_eq!(format!("{environment:?}"), "{\"AWS_SECRET_ACCESS_KEY\"}");
    }
}
