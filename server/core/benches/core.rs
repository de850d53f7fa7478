//! Costs of the parts that every request and task goes through: rows, the queue, admission in the ledger, the router.

#![allow(missing_docs, clippy::expect_used, reason = "a bench")]

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use afterload_core::{
    ledger::{Ledger, TaskKind},
    queue::Queue,
    router::Router,
    rows::{Kind, RowFile},
};
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};

/// Every iteration leaves a row of 64 bytes.
fn brief<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.warm_up_time(Duration::from_millis(50)).measurement_time(Duration::from_millis(200));
    group
}

fn rows(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = RowFile::create(&folder.path().join("rows"), Kind::Tasks, 1, "").expect("a row file");
    let mut group = brief(criterion, "rows");
    group.bench_function("claim one and store six words", |bench| {
        bench.iter(|| {
            let row = file.claim().expect("room");
            for word in (0..6).rev() {
                file.store(row, word, black_box(7));
            }
        });
    });
}

fn ledger(criterion: &mut Criterion) {
    let life = |ledger: &Ledger| {
        let entry = ledger.accept(black_box(7), 0, 1, Some(TaskKind::Def));
        ledger.flushed(&entry, true);
        assert!(ledger.start(&entry) && ledger.end(&entry, false));
    };
    let without = Ledger::open(None, 1, "").expect("no file is made");
    criterion.bench_function("ledger/a task's life, without rows", |bench| bench.iter(|| life(&without)));
    let folder = tempfile::tempdir().expect("a folder");
    let with = Ledger::open(Some(&folder.path().join("rows")), 1, "").expect("a row file");
    brief(criterion, "ledger").bench_function("a task's life, with its row", |bench| bench.iter(|| life(&with)));
    criterion.bench_function("ledger/what admission reads", |bench| bench.iter(|| black_box(without.pending() + without.busy())));
}

fn queue(criterion: &mut Criterion) {
    let queue = Queue::new(1);
    criterion.bench_function("queue/push and pop on one thread", |bench| {
        bench.iter(|| {
            queue.push(black_box(1_u64));
            queue.try_pop(0)
        });
    });
    let mut group = criterion.benchmark_group("queue to sleeping consumers");
    group.measurement_time(Duration::from_secs(3));
    for consumers in [1, 40] {
        let (queue, done, threads) = started(consumers);
        group.bench_function(format!("one piece there, one word back, {consumers} consumers"), |bench| {
            bench.iter(|| {
                let before = done.load(Ordering::Acquire);
                queue.push(1_u64);
                while done.load(Ordering::Acquire) == before {
                    thread::yield_now();
                }
            });
        });
        group.bench_function(format!("a piece of a burst of 1,000, {consumers} consumers"), |bench| {
            bench.iter_custom(|bursts| {
                let begun = Instant::now();
                for _ in 0..bursts {
                    let end = done.load(Ordering::Acquire) + 1000;
                    for _ in 0..1000 {
                        queue.push(1_u64);
                    }
                    while done.load(Ordering::Acquire) < end {
                        thread::yield_now();
                    }
                }
                begun.elapsed() / 1000
            });
        });
        queue.close();
        for thread in threads {
            thread.join().expect("no panic");
        }
    }
}

type Started = (Arc<Queue<u64>>, Arc<AtomicU64>, Vec<thread::JoinHandle<()>>);

fn started(consumers: usize) -> Started {
    let (queue, done) = (Arc::new(Queue::new(consumers)), Arc::new(AtomicU64::new(0)));
    let threads = (0..consumers)
        .map(|number| {
            let (queue, done) = (Arc::clone(&queue), Arc::clone(&done));
            thread::spawn(move || {
                while let Some(work) = queue.pop(number) {
                    done.fetch_add(work, Ordering::Release);
                }
            })
        })
        .collect();
    (queue, done, threads)
}

fn router(criterion: &mut Criterion) {
    let mut router = Router::default();
    for number in 0..100 {
        router.add("GET", &format!("/static/{number}"), number).expect("a path");
        router.add("GET", &format!("/items/{number}/{{id}}"), 100 + number).expect("a path");
    }
    criterion
        .bench_function("router/a static path among 200", |bench| bench.iter(|| router.find("GET", black_box("/static/42"))));
    criterion.bench_function("router/a path with a parameter among 200", |bench| {
        bench.iter(|| router.find("GET", black_box("/items/42/7")));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(30);
    targets = rows, ledger, queue, router
}
criterion_main!(benches);
