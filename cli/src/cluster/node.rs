//! `tiphys node set`: suspend nodes that wait.

use tiphys_api::NodePhase;
use tiphys_engine::{NodeSelector, SetNodes};

use super::{none_local, within};
use crate::args::{Global, NodeSetArgs, PhaseArg};
use crate::failure::Failure;
use crate::output;
use crate::submit::pairs;

/// Sets phase, message and outputs. argo: util.go, SetWorkflow.
pub fn set(global: &Global, args: &NodeSetArgs) -> Result<(), Failure> {
    none_local(global, "node set", std::slice::from_ref(&args.workflow))?;
    let selector = NodeSelector::parse(&args.node_field_selector).map_err(Failure::usage)?;
    let set =
        SetNodes { phase: args.phase.map(phase), message: args.message.clone(), parameters: pairs(&args.parameters)? };
    if set.phase.is_none() && set.message.is_empty() && set.parameters.is_empty() {
        return Err(Failure::usage("there is nothing to set: give --phase, --message or --output-parameter"));
    }
    within(global, async |cluster| {
        let name = cluster.name(&args.workflow).await?;
        cluster.set(&name, &selector, &set).await?;
        if !global.quiet {
            output::print(&format!("workflow {name} set\n"));
        }
        Ok(())
    })
}

fn phase(phase: PhaseArg) -> NodePhase {
    match phase {
        PhaseArg::Pending => NodePhase::Pending,
        PhaseArg::Running => NodePhase::Running,
        PhaseArg::Succeeded => NodePhase::Succeeded,
        PhaseArg::Skipped => NodePhase::Skipped,
        PhaseArg::Failed => NodePhase::Failed,
        PhaseArg::Error => NodePhase::Error,
    }
}
