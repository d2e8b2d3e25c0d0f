//! Criterion's tables: what each part takes, beside the bare primitives on the same bytes.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use sealed_session::CookieStore;
use sealed_session_benches::{Case, SIZES, open, request, seal, sealing_first, sealing_last};

fn opening(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open");
    for (size, text) in SIZES {
        let case = Case::new(text);
        let genuine = case.request();
        group.bench_function(BenchmarkId::new("ours", size), |b| {
            b.iter(|| open(&case.store, black_box(&genuine)));
        });
        group.bench_function(BenchmarkId::new("primitives", size), |b| {
            b.iter(|| case.bare.open(black_box(case.token.as_bytes())));
        });
    }
}

fn sealing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal");
    for (size, text) in SIZES {
        let case = Case::new(text);
        let (session, mut response) = (case.changed(), HeaderMap::with_capacity(8));
        group.bench_function(BenchmarkId::new("ours", size), |b| {
            b.iter(|| seal(&case.store, black_box(&session), &mut response));
        });
        group.bench_function(BenchmarkId::new("primitives", size), |b| {
            b.iter(|| case.bare.seal(black_box(&case.plaintext)));
        });
    }
}

fn refusing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("refuse");
    for (size, text) in SIZES {
        let case = Case::new(text);
        for (why, token) in [
            ("mac wrong", case.forged(31)),
            ("ciphertext wrong", case.spliced()),
            ("no base64", case.junk()),
        ] {
            let refused = request(&token);
            group.bench_function(BenchmarkId::new(why, size), |b| {
                b.iter(|| open(&case.store, black_box(&refused)));
            });
        }
    }
}

fn keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("open with keys");
    for (size, text) in SIZES {
        let case = Case::new(text);
        let genuine = case.request();
        for (which, ring) in [
            ("the only one", sealing_first(1)),
            ("first of 4", sealing_first(4)),
            ("last of 4", sealing_last(4)),
            ("first of 16", sealing_first(16)),
            ("last of 16", sealing_last(16)),
        ] {
            let store = CookieStore::new(ring);
            group.bench_function(BenchmarkId::new(which, size), |b| {
                b.iter(|| open(&store, black_box(&genuine)));
            });
        }
    }
}

criterion_group! {
    name = core;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = opening, sealing, refusing, keys
}
criterion_main!(core);
