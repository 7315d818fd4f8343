//! `tiphys get`, of a cluster.

use super::{neither, within};
use crate::args::Global;
use crate::display::whole::Whole;
use crate::failure::Failure;
use crate::output;

/// Shows workflows as they are now.
pub fn get(global: &Global, names: &[String], whole: &Whole) -> Result<(), Failure> {
    let shown = within(global, async |cluster| {
        for name in names {
            let workflow = cluster.workflow(&cluster.name(name).await?).await?.or_warn();
            output::print(&whole.text(&workflow, None));
        }
        Ok(())
    });
    shown.map_err(|error| neither(error, names))
}
