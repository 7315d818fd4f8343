//! A workflow that needs locks moves to the first shard, whose holder keeps them for all workflows.
//!
//! It says so by a label, which goes out with all that has happened so far; from then on nothing is done for it here. Whoever
//! has the first shard takes it up as after a restart. The dispatcher, which sees the label too, ends what is left here.

use serde_json::json;
use tiphys_contract::label;
use tiphys_kubernetes::Backoff;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Actor, Ending};
use crate::workflow::message::Message;
use crate::workflow::pods::Workplace;

/// The value of the label.
const FIRST: &str = "0";

/// Whether a workflow moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moving {
    /// It stays.
    No,
    /// It needs a lock. Nothing more is done; what has happened is written with the next write.
    Wanted,
    /// The write that says so is under way. One that is refused leads back.
    Writing,
    /// It is written: everything else is the first shard's.
    Told,
}

impl Actor {
    pub(super) fn begin_to_move(&mut self) {
        tracing::info!(namespace = %self.place.namespace, workflow = %self.place.workflow, "it needs a lock, and moves to the first shard");
        self.written.marks.insert(label::SHARD.into(), FIRST.into());
        self.moving = Moving::Wanted;
        self.unwritten = true;
    }
}

impl Workplace {
    /// Gives a workflow to the first shard that nothing has been done for here.
    pub(super) async fn give_to_first(&self) {
        let patch = json!({"metadata": {"labels": {label::SHARD: FIRST}}});
        let mut backoff = Backoff::default();
        while let Err(error) = self.cluster.change(&self.path(), &patch).await {
            if error.is_not_found() || error.is_shut() {
                return;
            }
            tracing::warn!(namespace = %self.namespace, workflow = %self.workflow, %error, "it cannot be given to the first shard yet");
            error.wait(&mut backoff).await;
        }
    }
}

/// Waits for the dispatcher to end this, or for the workflow to go.
pub(super) async fn wait_for_end(mut inbox: UnboundedReceiver<Message>) -> Ending {
    while let Some(message) = inbox.recv().await {
        if matches!(message, Message::Deleted) {
            break;
        }
    }
    Ending::Deleted
}
