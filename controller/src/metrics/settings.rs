//! `metricsConfig` and `telemetryConfig` of the configuration. argo: config/config.go, MetricsConfig.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

/// What is told, and where. Read once: another port or path needs another start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Whether anything is told.
    pub enabled: bool,
    /// Where: `/metrics`.
    pub path: String,
    /// On which port: 9090.
    pub port: u16,
    /// Whether over TLS, with a certificate made at the start.
    pub secure: bool,
    /// How long a metric that a workflow defined is told after its last change; forever where this is nothing.
    pub metrics_ttl: Option<Duration>,
    /// By name without prefix.
    pub modifiers: BTreeMap<String, Modifier>,
}

/// How a metric is told differently.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Modifier {
    /// Not at all.
    pub disabled: bool,
    /// Without these labels: what differs in them alone is summed.
    pub disabled_attributes: Vec<String>,
    /// Upper bounds of a histogram of the controller's own.
    pub histogram_buckets: Vec<f64>,
}

/// The fields as they are written.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub(crate) struct Written {
    enabled: Option<bool>,
    #[serde(rename = "disableLegacy")]
    _disable_legacy: bool,
    #[serde(rename = "metricsTTL")]
    metrics_ttl: String,
    path: String,
    port: u16,
    #[serde(rename = "ignoreErrors")]
    _ignore_errors: bool,
    secure: Option<bool>,
    modifiers: BTreeMap<String, Modifier>,
    temporality: String,
}

impl Written {
    /// With Argo's defaults.
    pub(crate) fn settings(self) -> Result<Settings, String> {
        if !matches!(self.temporality.as_str(), "" | "Cumulative") {
            return Err(format!(
                "metricsConfig.temporality: {} is not supported by this version of Tiphys, which sends metrics as they are \
                 since its start (Cumulative): leave it out",
                self.temporality
            ));
        }
        if !self.path.is_empty() && !self.path.starts_with('/') {
            return Err(format!("metricsConfig.path: {} must begin with /", self.path));
        }
        let ttl = match self.metrics_ttl.as_str() {
            "" => None,
            text => {
                let nanos = tiphys_expr::go::parse_argo_duration(text)
                    .map_err(|reason| format!("metricsConfig.metricsTTL: {reason}"))?;
                Some(Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())).filter(|ttl| !ttl.is_zero())
            }
        };
        Ok(Settings {
            enabled: self.enabled.unwrap_or(true),
            path: if self.path.is_empty() { "/metrics".into() } else { self.path },
            port: if self.port == 0 { 9090 } else { self.port },
            secure: self.secure.unwrap_or(true),
            metrics_ttl: ttl,
            modifiers: self.modifiers,
        })
    }
}

impl Settings {
    /// Bounds of a histogram.
    pub(crate) fn bounds(&self, name: &str, usual: &[f64]) -> Vec<f64> {
        match self.modifiers.get(name) {
            Some(modifier) if !modifier.histogram_buckets.is_empty() => {
                let mut bounds = modifier.histogram_buckets.clone();
                bounds.sort_by(f64::total_cmp);
                bounds.dedup();
                bounds
            }
            _ => usual.to_vec(),
        }
    }
}
