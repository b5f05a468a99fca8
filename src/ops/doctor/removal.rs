//! How doctor takes away what it made: where the cloud can, so that no mail program shows it any more; else as people do,
//! into Deleted Items.

use crate::graph::{Graph, GraphError};
use crate::identity::config::Cloud;
use crate::model::address::Address;

/// Removes a message that doctor made; one that is gone already is a success. Where the answer is lost it is asked once
/// more, which changes nothing if it was done.
pub(super) async fn remove(graph: &Graph, mailbox: &Address, id: &str, cloud: Cloud) -> Result<(), GraphError> {
    match once(graph, mailbox, id, cloud).await {
        Err(GraphError::Unavailable { .. } | GraphError::Unreachable { .. }) => once(graph, mailbox, id, cloud).await,
        ended => ended,
    }
}

async fn once(graph: &Graph, mailbox: &Address, id: &str, cloud: Cloud) -> Result<(), GraphError> {
    if has_permanent_delete(cloud) {
        match graph.delete_permanently(mailbox, id).await {
            // A mail in Deleted Items is better than one in the inbox.
            Err(GraphError::Refused(_)) => {}
            ended => return ended,
        }
    }
    graph.delete_draft(mailbox, id).await
}

/// As Microsoft's page says (learn.microsoft.com/graph/api/message-permanentdelete, "national cloud deployments").
fn has_permanent_delete(cloud: Cloud) -> bool {
    match cloud {
        Cloud::Global => true,
        Cloud::GccHigh | Cloud::Dod | Cloud::China => false,
    }
}
