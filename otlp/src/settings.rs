//! OpenTelemetry's variables, read once. A value that nothing can be done with is refused by name.
//! Source: the specification's protocol/exporter.md and sdk-environment-variables.md; argo: util/telemetry/tracing.go.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::sampler::Sampler;
use crate::span::Value;

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
}

impl Signal {
    fn word(self) -> &'static str {
        match self {
            Signal::Traces => "TRACES",
            Signal::Metrics => "METRICS",
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Signal::Traces => "v1/traces",
            Signal::Metrics => "v1/metrics",
        }
    }

    pub(crate) fn method(self) -> &'static str {
        match self {
            Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
        }
    }
}

/// How it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `grpc`, which is what an absent variable means (as in Argo, and unlike what the specification recommends by now).
    Grpc,
    /// `http/protobuf`
    Http,
}

/// Where and how one signal is sent.
#[derive(Clone, PartialEq)]
pub struct Settings {
    /// What is sent.
    pub signal: Signal,
    /// How.
    pub protocol: Protocol,
    /// Where; for HTTP with the path.
    pub endpoint: http::Uri,
    /// Headers of every request. They may be secret, and are never shown.
    pub headers: Vec<(String, String)>,
    /// How long an answer may take, where that is said.
    pub timeout: Option<Duration>,
    /// Whether messages are compressed.
    pub gzip: bool,
    /// PEM file of who may have signed the collector's certificate, beside those that the system trusts.
    pub certificate: Option<PathBuf>,
    /// PEM files of the client's own certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { signal, protocol, endpoint, .. } = self;
        f.debug_struct("Settings")
            .field("signal", signal)
            .field("protocol", protocol)
            .field("endpoint", endpoint)
            .finish()
    }
}

/// A variable that is not usable; the text for the user.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub struct SettingsError(pub(crate) String);

impl Settings {
    /// Of the environment; none where nothing is to be sent.
    ///
    /// # Errors
    /// A variable that is not usable.
    pub fn of(signal: Signal, variable: impl Fn(&str) -> Option<String>) -> Result<Option<Settings>, SettingsError> {
        let read = |name: &str| variable(name).filter(|value| !value.is_empty());
        if read("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        let exporter = format!("OTEL_{}_EXPORTER", signal.word());
        match read(&exporter).as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(other) => return refused(&exporter, other, "otlp or none"),
        }
        // Its own name, then that of all signals.
        let names =
            |rest: &str| [format!("OTEL_EXPORTER_OTLP_{}_{rest}", signal.word()), format!("OTEL_EXPORTER_OTLP_{rest}")];
        let find = |rest: &str| names(rest).into_iter().find_map(|name| read(&name).map(|value| (name, value)));
        let Some((name, address)) = find("ENDPOINT") else { return Ok(None) };
        let protocol = match find("PROTOCOL") {
            None => Protocol::Grpc,
            Some((_, text)) if text == "grpc" => Protocol::Grpc,
            Some((_, text)) if text == "http/protobuf" => Protocol::Http,
            Some((name, text)) => return refused(&name, &text, "grpc or http/protobuf"),
        };
        let insecure = find("INSECURE").is_some_and(|(_, value)| value.eq_ignore_ascii_case("true"));
        let common = name == "OTEL_EXPORTER_OTLP_ENDPOINT";
        let endpoint = endpoint(&name, &address, insecure)?;
        let endpoint = match protocol {
            Protocol::Http if common => with_path(&endpoint, signal.path()),
            _ => endpoint,
        };
        let headers = match find("HEADERS") {
            None => Vec::new(),
            Some((name, text)) => {
                let expected = "NAME=VALUE, by commas";
                pairs(&text).ok_or_else(|| SettingsError(format!("{name} is not usable: expected {expected}")))?
            }
        };
        let timeout = match find("TIMEOUT") {
            None => None,
            Some((name, text)) => match text.parse::<u64>() {
                Ok(millis) if millis > 0 => Some(Duration::from_millis(millis)),
                _ => return refused(&name, &text, "milliseconds"),
            },
        };
        let gzip = match find("COMPRESSION") {
            None => false,
            Some((_, text)) if text == "none" => false,
            Some((_, text)) if text == "gzip" => true,
            Some((name, text)) => return refused(&name, &text, "gzip or none"),
        };
        let file = |rest| find(rest).map(|(_, path)| PathBuf::from(path));
        let identity = match (file("CLIENT_CERTIFICATE"), file("CLIENT_KEY")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                let both = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and OTEL_EXPORTER_OTLP_CLIENT_KEY";
                return Err(SettingsError(format!("{both} are needed together")));
            }
        };
        let certificate = file("CERTIFICATE");
        Ok(Some(Settings { signal, protocol, endpoint, headers, timeout, gzip, certificate, identity }))
    }
}

fn refused<T>(name: &str, value: &str, expected: &str) -> Result<T, SettingsError> {
    Err(SettingsError(format!("{name} is {value:?}: expected {expected}")))
}

/// An address with its scheme; `HOST:PORT` alone is TLS unless it is said to be insecure.
fn endpoint(name: &str, text: &str, insecure: bool) -> Result<http::Uri, SettingsError> {
    let whole = match text.contains("://") {
        true => text.to_owned(),
        false => format!("{}://{text}", if insecure { "http" } else { "https" }),
    };
    let wrong = || SettingsError(format!("{name} is not usable: expected an address such as http://collector:4317"));
    let uri: http::Uri = whole.parse().map_err(|_| wrong())?;
    // What stands before an @ would be a password in a place where it is shown.
    let plain =
        uri.authority().is_some_and(|authority| !authority.as_str().contains('@') && !authority.host().is_empty());
    if !plain || !matches!(uri.scheme_str(), Some("http" | "https")) {
        return Err(wrong());
    }
    Ok(uri)
}

fn with_path(uri: &http::Uri, path: &str) -> http::Uri {
    let whole = format!("{}/{path}", uri.to_string().trim_end_matches('/'));
    whole.parse().unwrap_or_else(|_| uri.clone())
}

/// `NAME=VALUE` by commas, with `%XX` for what they cannot hold.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |one: &str| {
        let (name, value) = one.split_once('=')?;
        let name = name.trim();
        (!name.is_empty()).then(|| Some((name.to_owned(), decoded(value.trim())?)))?
    };
    text.split(',').filter(|one| !one.trim().is_empty()).map(pair).collect()
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        bytes.push(match byte {
            b'%' => (digit(rest.next())? * 16 + digit(rest.next())?) as u8,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Who sends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    pub(crate) attributes: Vec<(String, Value)>,
}

impl Resource {
    /// A program of this name, unless the environment names it (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`).
    ///
    /// # Errors
    /// `OTEL_RESOURCE_ATTRIBUTES` is not a list of pairs.
    pub fn of(name: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Resource, SettingsError> {
        let given = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
        let wrong = || SettingsError(format!("OTEL_RESOURCE_ATTRIBUTES is {given:?}: expected NAME=VALUE, by commas"));
        let mut attributes = vec![
            ("service.name".to_owned(), name.to_owned()),
            ("service.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("telemetry.sdk.language".to_owned(), "rust".to_owned()),
            ("telemetry.sdk.name".to_owned(), "tiphys".to_owned()),
            ("telemetry.sdk.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("process.pid".to_owned(), std::process::id().to_string()),
        ];
        attributes.extend(variable("HOSTNAME").map(|host| ("host.name".to_owned(), host)));
        let service = variable("OTEL_SERVICE_NAME").filter(|name| !name.is_empty());
        let service = service.map(|name| ("service.name".to_owned(), name));
        for (name, value) in pairs(&given).ok_or_else(wrong)?.into_iter().chain(service) {
            attributes.retain(|(known, _)| *known != name);
            attributes.push((name, value));
        }
        Ok(Resource { attributes: attributes.into_iter().map(typed).collect() })
    }

    /// The sampler of the environment.
    ///
    /// # Errors
    /// It is not one that there is.
    pub fn sampler(variable: impl Fn(&str) -> Option<String>) -> Result<Sampler, SettingsError> {
        let read = |name| variable(name).unwrap_or_default();
        Sampler::of(&read("OTEL_TRACES_SAMPLER"), &read("OTEL_TRACES_SAMPLER_ARG")).map_err(SettingsError)
    }
}

/// The one attribute of ours that is a number.
fn typed((name, value): (String, String)) -> (String, Value) {
    let number = value.parse().ok().filter(|_| name == "process.pid");
    (name, number.map_or(Value::Text(value), Value::Int))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        let find = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::of(Signal::Traces, find).map_err(|error| error.to_string())
    }

    fn address(pairs: &[(&str, &str)]) -> String {
        settings(pairs).unwrap().unwrap().endpoint.to_string()
    }

    #[test]
    fn without_an_endpoint_there_is_nothing() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
        assert_eq!(settings(&[]), Ok(None));
        assert_eq!(settings(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), Ok(None));
        assert_eq!(settings(&[("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://c:4317")]), Ok(None));
        assert_eq!(settings(&[endpoint, ("OTEL_SDK_DISABLED", "true")]), Ok(None));
        assert_eq!(settings(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]), Ok(None));
        assert_eq!(settings(&[endpoint]).unwrap().unwrap().protocol, Protocol::Grpc);
    }

    #[test]
    fn a_signals_own_variables_win_and_its_address_is_whole() {
        let http = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf");
        let common = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/base/");
        let own = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://own/here");
        assert_eq!(address(&[common, http]), "http://c:4318/base/v1/traces");
        assert_eq!(address(&[common, http, own]), "https://own/here");
        assert_eq!(address(&[common]), "http://c:4318/base/");
        assert_eq!(address(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317")]), "https://c:4317/");
        let insecure = ("OTEL_EXPORTER_OTLP_INSECURE", "true");
        assert_eq!(address(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "c:4317"), insecure]), "http://c:4317/");
    }

    #[test]
    fn headers_are_decoded_and_not_shown() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
        let headers = ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x%2Cy , b=1");
        let settings = settings(&[endpoint, headers]).unwrap().unwrap();
        let expected = [("authorization", "Bearer x,y"), ("b", "1")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        assert_eq!(settings.headers, expected);
        assert!(!format!("{settings:?}").contains("Bearer"));
    }

    #[test]
    fn mistakes_are_named() {
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317");
        for (pair, message) in [
            (
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
                "OTEL_EXPORTER_OTLP_PROTOCOL is \"http/json\": expected grpc or http/protobuf",
            ),
            (("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"), "OTEL_EXPORTER_OTLP_TIMEOUT is \"10s\": expected milliseconds"),
            (("OTEL_TRACES_EXPORTER", "zipkin"), "OTEL_TRACES_EXPORTER is \"zipkin\": expected otlp or none"),
            (
                ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
                "OTEL_EXPORTER_OTLP_HEADERS is not usable: expected NAME=VALUE, by commas",
            ),
            (
                ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://user:secret@c"),
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is not usable: expected an address such as http://collector:4317",
            ),
        ] {
            assert_eq!(settings(&[endpoint, pair]).unwrap_err(), message);
        }
    }

    #[test]
    fn the_environment_names_the_service() {
        let of = |pairs: &[(&str, &str)]| {
            let find = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            let resource = Resource::of("ours", find).unwrap();
            let named =
                |name: &str| resource.attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
            (named("service.name").unwrap(), named("team"))
        };
        assert_eq!(of(&[]), ("ours".into(), None));
        assert_eq!(
            of(&[("OTEL_RESOURCE_ATTRIBUTES", "service.name=a,team=b"), ("OTEL_SERVICE_NAME", "c")]),
            ("c".into(), Some("b".into()))
        );
    }
}
