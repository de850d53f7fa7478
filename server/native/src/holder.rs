//! Who keeps the interpreter's lock (GIL) from the others, as far as it can be known, and what runs anyway.
//!
//! A thread that sleeps has a piece of Python running and no lock: so nobody is named for running long, but only while the probe waits in
//! vain and the same thread state has the lock at every look.

use std::sync::atomic::Ordering;

use afterload_core::{
    clock::now_ns,
    gil::HELD_AFTER_NS,
    ledger::UNTAGGED,
    text::{Json, seconds},
    watch::{Piece, PieceKind},
};

use crate::{admin::View, pages::RouteLine};

const SUSPECTS: usize = 10;

/// A piece of Python, on the thread of that name.
pub struct Suspect {
    piece: Piece,
    thread: String,
}

/// Who keeps the interpreter's lock from others.
pub struct Holder {
    for_ns: u64,
    /// The thread, if it is known.
    thread: Option<String>,
    /// What it runs.
    suspects: Vec<Suspect>,
    /// It is one of the suspects, or something that is not known.
    is_guess: bool,
}

/// At least the `most` pieces of a kind that have run longest, longest first.
pub fn running(view: &View, kind: PieceKind, most: usize) -> Vec<Suspect> {
    let watch = &view.core.watch;
    let on_threads = watch.threads().into_iter().filter_map(|thread| {
        let piece = thread.piece().filter(|piece| piece.kind == kind)?;
        Some(Suspect { piece, thread: thread.name.clone() })
    });
    let on_loop = watch.on_loop(kind, most).into_iter().map(|piece| Suspect { piece, thread: "event-loop".to_owned() });
    let mut all: Vec<Suspect> = on_threads.chain(on_loop).collect();
    all.sort_by_key(|suspect| suspect.piece.since_ns);
    all
}

/// Who keeps the interpreter's lock, if somebody has for long.
pub fn holder(view: &View) -> Option<Holder> {
    let (identity, for_ns) = view.held()?;
    let now = now_ns();
    let watch = &view.core.watch;
    if identity == 0 {
        // Who it is cannot be known. All that run are suspects, and it holds the lock at most since the last of them could begin.
        let mut suspects = running(view, PieceKind::Task, SUSPECTS);
        suspects.extend(running(view, PieceKind::Endpoint, SUSPECTS));
        suspects.sort_by_key(|suspect| suspect.piece.since_ns);
        let last = suspects.last().map_or(0, |suspect| suspect.piece.since_ns);
        suspects.truncate(SUSPECTS);
        return Holder { for_ns: for_ns.min(now.saturating_sub(last)), thread: None, suspects, is_guess: true }.if_long();
    }
    if identity == watch.loop_identity.load(Ordering::Relaxed) {
        // Which of its coroutines it is in is known to the loop alone.
        let thread = "event-loop".to_owned();
        let pieces = [PieceKind::Task, PieceKind::Endpoint].map(|kind| watch.on_loop(kind, SUSPECTS));
        let suspects: Vec<_> = pieces.into_iter().flatten().map(|piece| Suspect { piece, thread: thread.clone() }).collect();
        return Some(Holder { for_ns, thread: Some(thread), is_guess: suspects.len() > 1, suspects });
    }
    if let Some(thread) = watch.threads().into_iter().find(|thread| thread.identity == identity) {
        let piece = thread.piece();
        let for_ns = for_ns.min(now.saturating_sub(piece.map_or(0, |piece| piece.since_ns)));
        let suspects = piece.into_iter().map(|piece| Suspect { piece, thread: thread.name.clone() }).collect();
        return Holder { for_ns, thread: Some(thread.name.clone()), suspects, is_guess: false }.if_long();
    }
    let serves = identity == watch.serving_identity.load(Ordering::Relaxed);
    let thread = if serves { "the thread that serves" } else { "a thread that the app has started" };
    Some(Holder { for_ns, thread: Some(thread.to_owned()), suspects: Vec::new(), is_guess: false })
}

impl Holder {
    fn if_long(self) -> Option<Self> {
        (self.for_ns > HELD_AFTER_NS).then_some(self)
    }

    /// As the pages show it.
    pub fn json(&self, view: &View) -> Json {
        let (now, for_ms) = (now_ns(), ("for_ms", Json::milliseconds(self.for_ns)));
        match &self.suspects[..] {
            [] => Json::object([
                ("kind", Json::text("thread")),
                ("name", self.thread.as_deref().map_or(Json::null(), Json::text)),
                for_ms,
            ]),
            [one] if !self.is_guess => Json::object(one.members(view, now).into_iter().chain([for_ms])),
            some => Json::object([
                ("kind", Json::text("one of")),
                ("name", self.thread.as_deref().map_or(Json::null(), Json::text)),
                for_ms,
                ("one_of", Json::list(some.iter().map(|suspect| suspect.json(view, now)))),
            ]),
        }
    }

    /// Kind, name and seconds of each suspect, or of the thread.
    pub fn labels(&self, view: &View) -> Vec<(String, String, f64)> {
        let held = seconds(self.for_ns);
        if self.suspects.is_empty() {
            return vec![("thread".to_owned(), self.thread.clone().unwrap_or_default(), held)];
        }
        let mut labels: Vec<_> =
            self.suspects.iter().map(|suspect| (suspect.kind().to_owned(), suspect.name(view), held)).collect();
        // Two calls of one function are one time series.
        labels.sort_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
        labels.dedup_by(|one, other| (&one.0, &one.1) == (&other.0, &other.1));
        labels
    }
}

impl Suspect {
    fn kind(&self) -> &'static str {
        match self.piece.kind {
            PieceKind::Task => "task",
            PieceKind::Endpoint => "endpoint",
        }
    }

    fn name(&self, view: &View) -> String {
        match self.piece.kind {
            PieceKind::Task => {
                u16::try_from(self.piece.id).map_or_else(|_| String::new(), |id| view.core.ledger.functions.name(id).to_string())
            }
            PieceKind::Endpoint => {
                let line = view.core.routes.get().and_then(|lines| lines.get(self.piece.id as usize));
                line.map_or_else(|| "the app".to_owned(), RouteLine::name)
            }
        }
    }

    fn members(&self, view: &View, now: u64) -> Vec<(&'static str, Json)> {
        let op = self.piece.op;
        vec![
            ("kind", Json::text(self.kind())),
            ("name", Json::text(&self.name(view))),
            ("op", if op & UNTAGGED == 0 { Json::text(&format!("{op:016x}")) } else { Json::null() }),
            ("running_ms", Json::milliseconds(now.saturating_sub(self.piece.since_ns))),
            ("thread", Json::text(&self.thread)),
        ]
    }

    /// As the pages show it.
    pub fn json(&self, view: &View, now: u64) -> Json {
        Json::object(self.members(view, now))
    }
}
