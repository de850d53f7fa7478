//! Requests under way, as admission and the drain count them.

use std::sync::{Arc, atomic::Ordering};

use afterload_core::ledger::Share;

use crate::{core::Core, policy::Policy};

/// Counts a request as under way, also when its connection has gone, until its tasks have been accepted.
pub struct BusyGuard {
    core: Arc<Core>,
    share: Option<Arc<Share>>,
    may_add: bool,
}

impl BusyGuard {
    /// `may_add`: whether it may add tasks, so that admission counts it until that is decided.
    pub fn new(core: &Arc<Core>, policy: &Policy, may_add: bool) -> Self {
        core.ledger.enter();
        let share = policy.share().cloned();
        if may_add {
            core.undecided.fetch_add(1, Ordering::AcqRel);
            if let Some(share) = &share {
                share.enter();
            }
        }
        Self { core: Arc::clone(core), share, may_add }
    }

    /// Counts the request in the share of a route that was not known before.
    pub fn join(&mut self, policy: &Policy) {
        if !self.may_add {
            return;
        }
        if let Some(share) = policy.share() {
            share.enter();
        }
        if let Some(before) = std::mem::replace(&mut self.share, policy.share().cloned()) {
            before.leave();
        }
    }

    /// Admission counts the request no longer: what it adds has been accepted. Before its answer can be read, so that the client's next
    /// request does not find it counted twice.
    pub fn decided(&mut self) {
        if std::mem::replace(&mut self.may_add, false) {
            self.core.undecided.fetch_sub(1, Ordering::AcqRel);
            if let Some(share) = &self.share {
                share.leave();
            }
        }
    }
}

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.decided();
        self.core.ledger.leave();
    }
}
