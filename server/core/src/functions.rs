//! The names of task functions, and how many calls of each are queued and running.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

/// So many names are told apart; the rest share the empty one.
const NAMES: usize = 4096;
const RUNNING: u64 = 1 << 32;

#[derive(Default)]
struct Names {
    list: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, u16>,
}

/// One function's calls at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// Empty: all functions beyond those that can be told apart.
    pub name: Arc<str>,
    /// Accepted and neither started nor dropped.
    pub queued: u64,
    /// Started and not ended.
    pub running: u64,
}

/// All task functions seen so far.
pub struct Functions {
    names: RwLock<Names>,
    /// Queued calls in the lower half, running ones in the upper half of a word: each change is one addition, and no reader sees a call
    /// in both states or in none.
    calls: Box<[AtomicU64]>,
}

impl Default for Functions {
    fn default() -> Self {
        let nobody: Arc<str> = Arc::from("");
        let names = Names { list: vec![Arc::clone(&nobody)], ids: HashMap::from([(nobody, 0)]) };
        Self { names: RwLock::new(names), calls: (0..NAMES).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Functions {
    /// The id of a name, given at first use; `first` is then called, for one name after another in the order of ids.
    pub fn id(&self, text: &str, first: impl FnOnce(&str)) -> u16 {
        if let Some(&known) = self.names.read().unwrap_or_else(PoisonError::into_inner).ids.get(text) {
            return known;
        }
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(&known) = names.ids.get(text) {
            return known;
        }
        let Some(id) = u16::try_from(names.list.len()).ok().filter(|id| usize::from(*id) < NAMES) else { return 0 };
        let name: Arc<str> = Arc::from(text);
        names.list.push(Arc::clone(&name));
        names.ids.insert(name, id);
        first(text);
        id
    }

    /// The name of an id.
    #[must_use]
    pub fn name(&self, id: u16) -> Arc<str> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        names.list.get(usize::from(id)).map_or_else(|| Arc::clone(&names.list[0]), Arc::clone)
    }

    /// A call was queued.
    pub fn queued(&self, id: u16) {
        self.of(id).fetch_add(1, Ordering::Relaxed);
    }

    /// A queued call was started.
    pub fn started(&self, id: u16) {
        self.of(id).fetch_add(RUNNING - 1, Ordering::Relaxed);
    }

    /// A running call ended.
    pub fn ended(&self, id: u16) {
        self.of(id).fetch_sub(RUNNING, Ordering::Relaxed);
    }

    /// A queued call was dropped.
    pub fn dropped(&self, id: u16) {
        self.of(id).fetch_sub(1, Ordering::Relaxed);
    }

    /// The functions that have calls under way, in order of their first use.
    #[must_use]
    pub fn under_way(&self) -> Vec<Calls> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let pairs = names.list.iter().zip(&self.calls).map(|(name, calls)| (name, calls.load(Ordering::Relaxed)));
        pairs
            .filter(|(_, calls)| *calls != 0)
            .map(|(name, calls)| Calls { name: Arc::clone(name), queued: calls % RUNNING, running: calls / RUNNING })
            .collect()
    }

    fn of(&self, id: u16) -> &AtomicU64 {
        &self.calls[usize::from(id) % NAMES]
    }
}

#[cfg(test)]
mod tests {
    use super::{Functions, NAMES};

    #[test]
    fn a_name_keeps_its_id_and_is_told_once() {
        let functions = Functions::default();
        let mut told = Vec::new();
        let ids: Vec<u16> = ["send", "store", "send"].map(|name| functions.id(name, |name| told.push(name.to_owned()))).into();
        assert_eq!((ids, told), (vec![1, 2, 1], vec!["send".to_owned(), "store".to_owned()]));
        assert_eq!(&*functions.name(2), "store");
        assert_eq!(functions.id("", |_| unreachable!("the empty name is known")), 0);
    }

    #[test]
    fn names_beyond_the_limit_share_the_empty_one() {
        let functions = Functions::default();
        let ids: Vec<u16> = (0..=NAMES).map(|number| functions.id(&number.to_string(), |_| ())).collect();
        assert_eq!(usize::from(ids[NAMES - 2]), NAMES - 1);
        assert_eq!(ids[NAMES - 1..], [0, 0]);
    }

    #[test]
    fn a_call_is_queued_then_running_then_gone() {
        let functions = Functions::default();
        let send = functions.id("send", |_| ());
        let seen = || functions.under_way().first().map(|calls| (calls.queued, calls.running));
        for _ in 0..3 {
            functions.queued(send);
        }
        functions.started(send);
        functions.dropped(send);
        assert_eq!(seen(), Some((1, 1)));
        functions.ended(send);
        functions.dropped(send);
        assert_eq!(seen(), None);
    }
}
