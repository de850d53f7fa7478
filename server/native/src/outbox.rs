//! What an I/O thread has for other threads, kept back until it has been through the sockets that are ready.
//!
//! To wake a thread costs more than to answer a request takes in Python, and a thread that is woken for one task is asleep again before
//! the next response has left. So the work that one pass over the ready sockets makes is handed over at its end, with one
//! wake-up for all of it: after at most `MOST` pieces, and at once if only one socket was ready. Nothing is kept while the thread sleeps.
//!
//! The end of a pass is when the postman's turn comes: a task of the thread's own, woken by the first piece, behind all that were ready.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
};

use crate::{
    chain::Chain,
    core::{Core, LoopWork},
};

/// So that a long pass keeps nobody waiting, and other threads work meanwhile.
const MOST: usize = 16;

struct Outbox {
    core: Arc<Core>,
    chains: RefCell<Vec<Arc<Chain>>>,
    for_loop: RefCell<Vec<LoopWork>>,
    postman: Cell<Option<Waker>>,
}

thread_local! {
    static OUTBOX: RefCell<Option<Rc<Outbox>>> = const { RefCell::new(None) };
}

/// Opens this thread's outbox; dropped, it hands over what is left and the thread hands over at once again.
pub struct Open(Rc<Outbox>);

impl Open {
    pub fn new(core: &Arc<Core>) -> Self {
        let outbox = Rc::new(Outbox {
            core: Arc::clone(core),
            chains: RefCell::default(),
            for_loop: RefCell::default(),
            postman: Cell::default(),
        });
        OUTBOX.set(Some(Rc::clone(&outbox)));
        Self(outbox)
    }

    /// The postman; to be spawned on the thread. Never ends.
    pub fn postman(&self) -> impl Future<Output = ()> + use<> {
        let outbox = Rc::clone(&self.0);
        poll_fn(move |context| {
            // Before the round: what is handed over may put more in, as the end of a chain does for its bell.
            outbox.postman.set(Some(context.waker().clone()));
            outbox.hand_over();
            Poll::Pending
        })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        OUTBOX.set(None);
        self.0.hand_over();
    }
}

/// Keeps a chain until the end of the pass. Err: this is no I/O thread.
pub fn keep(chain: Arc<Chain>) -> Result<(), Arc<Chain>> {
    let Some(outbox) = OUTBOX.with_borrow(Clone::clone) else {
        return Err(chain);
    };
    outbox.put(&outbox.chains, chain);
    Ok(())
}

/// Keeps work for the event loop until the end of the pass. Err: this is no I/O thread.
pub fn keep_for_loop(work: LoopWork) -> Result<(), LoopWork> {
    let Some(outbox) = OUTBOX.with_borrow(Clone::clone) else {
        return Err(work);
    };
    outbox.put(&outbox.for_loop, work);
    Ok(())
}

impl Outbox {
    fn put<T>(&self, pile: &RefCell<Vec<T>>, piece: T) {
        let mut pile = pile.borrow_mut();
        pile.push(piece);
        let full = pile.len() >= MOST;
        drop(pile);
        if full {
            self.hand_over();
        } else if let Some(postman) = self.postman.take() {
            postman.wake();
        }
    }

    fn hand_over(&self) {
        // Requests first: somebody waits for their answers.
        let work = std::mem::take(&mut *self.for_loop.borrow_mut());
        if !work.is_empty() {
            self.core.push_all_to_loop(work);
        }
        let chains = std::mem::take(&mut *self.chains.borrow_mut());
        if !chains.is_empty() {
            self.core.route_all(chains);
        }
    }
}
