//! What the environment says about the database; the names are Argo's.

use std::time::Duration;

/// How often what is no longer needed is looked for.
#[derive(Clone, Debug, clap::Args)]
pub struct PersistenceOptions {
    /// How often archived workflows older than `persistence.archiveTTL` are deleted
    #[arg(long, env = "ARCHIVED_WORKFLOW_GC_PERIOD", default_value = "24h", value_parser = duration)]
    pub archived_workflow_gc_period: Duration,
}

/// A time as Go writes it.
fn duration(text: &str) -> Result<Duration, String> {
    let nanos = tiphys_expr::go::parse_duration(text).map_err(|error| error.to_string())?;
    match u64::try_from(nanos) {
        Ok(nanos) if nanos > 0 => Ok(Duration::from_nanos(nanos)),
        _ => Err("must be more than nothing".into()),
    }
}
