//! What the environment says about the database; the names are Argo's.

use std::time::Duration;

use crate::durations::positive;
use crate::workflow::SizeLimits;

/// How often what is no longer needed is looked for.
#[derive(Clone, Debug, clap::Args)]
pub struct PersistenceOptions {
    /// How often archived workflows older than `persistence.archiveTTL` are deleted
    #[arg(long, env = "ARCHIVED_WORKFLOW_GC_PERIOD", default_value = "24h", value_parser = positive)]
    pub archived_workflow_gc_period: Duration,
    /// How often nodes in the database that no workflow names any more are looked for
    #[arg(long, env = "WORKFLOW_GC_PERIOD", default_value = "5m", value_parser = positive)]
    pub workflow_gc_period: Duration,
    /// How long they stay there at least
    #[arg(long, env = "OFFLOAD_NODE_STATUS_TTL", default_value = "5m", value_parser = positive)]
    pub offload_node_status_ttl: Duration,
    /// Keeps the nodes of every workflow outside the object
    #[arg(long, env = "ALWAYS_OFFLOAD_NODE_STATUS")]
    pub always_offload_node_status: bool,
    /// Bytes of a workflow beyond which its nodes are compressed, and then kept outside the object
    #[arg(long, env = "MAX_WORKFLOW_SIZE", default_value_t = SizeLimits::default().most)]
    pub max_workflow_size: usize,
}

impl PersistenceOptions {
    /// How large workflows may get. argo: workflow/packer/packer.go, which takes nothing for the default
    pub fn limits(&self) -> SizeLimits {
        let most = match self.max_workflow_size {
            0 => SizeLimits::default().most,
            most => most,
        };
        SizeLimits { most, always_outside: self.always_offload_node_status }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Alone {
        #[command(flatten)]
        persistence: PersistenceOptions,
    }

    #[test]
    fn no_size_is_the_usual_one() {
        let most = |size| Alone::try_parse_from(["x", "--max-workflow-size", size]).unwrap().persistence.limits().most;
        assert_eq!((most("0"), most("7")), (SizeLimits::default().most, 7));
    }
}
