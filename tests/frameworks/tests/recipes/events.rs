//! Recipes for metrics.

use axum::http::HeaderMap;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use sealed_session::CookieStore;

use crate::browser::keys;
use crate::recipes::{counted, measured};

fn bring_junk(store: &CookieStore) {
    for cookie in ["__Host-session=junk", "__Host-session=junk", ""] {
        let session = store.load_from([cookie]);
        session.insert("n", 1).unwrap();
        store.save(&session, &mut HeaderMap::new()).unwrap();
    }
    let session = store.load_from([""]);
    session.insert("large", "x".repeat(5000)).unwrap_err();
}

#[test]
fn each_event_counts_with_metrics() {
    let recorder = DebuggingRecorder::new();
    let snapshots = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || bring_junk(&counted::store(keys()).unwrap()));
    let seen = snapshots.snapshot().into_vec().into_iter();
    let mut seen: Vec<_> = seen
        .map(|(key, _, _, value)| {
            let key = key.key();
            assert_eq!(key.name(), "session_events_total");
            let labels: Vec<_> = key.labels().map(|label| label.value().to_owned()).collect();
            (labels.join(" "), value)
        })
        .collect();
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [("refused malformed", 2), ("too_large none", 1)];
    let expected = expected.map(|(labels, n)| (labels.to_owned(), DebugValue::Counter(n)));
    assert_eq!(seen, expected);
}

#[test]
fn each_event_counts_with_opentelemetry() {
    let exporter = InMemoryMetricExporter::default();
    let reader = PeriodicReader::builder(exporter.clone()).build();
    let provider = SdkMeterProvider::builder().with_reader(reader).build();
    bring_junk(&measured::store(keys(), &provider.meter("shop")).unwrap());
    provider.force_flush().unwrap();
    let exported = exporter.get_finished_metrics().unwrap();
    let scopes = exported
        .iter()
        .flat_map(|exported| exported.scope_metrics());
    let metrics: Vec<_> = scopes.flat_map(|scope| scope.metrics()).collect();
    let [metric] = metrics.as_slice() else {
        panic!("one metric: {metrics:?}");
    };
    assert_eq!(metric.name(), "session.events");
    let AggregatedMetrics::U64(MetricData::Sum(sum)) = metric.data() else {
        panic!("a counter: {metric:?}");
    };
    let mut seen: Vec<_> = sum
        .data_points()
        .map(|point| {
            let mut labels: Vec<_> = point.attributes().collect();
            labels.sort_by_key(|label| label.key.clone());
            let labels: Vec<_> = labels.iter().map(|label| label.value.to_string()).collect();
            (labels.join(" "), point.value())
        })
        .collect();
    seen.sort();
    let expected = [("refused malformed", 2), ("too_large none", 1)];
    assert_eq!(seen, expected.map(|(labels, n)| (labels.to_owned(), n)));
}
