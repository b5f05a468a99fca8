//! Logs and metrics: how they look, and what every metric means.
//!
//! Lines go to standard error. Mailspan's own lines and labels never hold an address, a subject or a body; libraries
//! know nothing of that rule, so with `redact` their talkative levels stay out.

use std::io::IsTerminal;
use std::sync::OnceLock;

use metrics::Unit;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, filter, fmt, reload};

/// `[telemetry]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Which log lines are written: a level, or levels for parts, such as `info,mailspan::graph=debug`.
    pub log: String,
    /// How log lines look.
    pub format: Format,
    /// Whether debug and trace lines of libraries are left out: their URLs may hold addresses.
    pub redact: bool,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
    /// Text on a terminal, JSON elsewhere.
    Auto,
}

/// Logging and metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter of `log`.
    #[error("telemetry.log {0}")]
    Filter(String),
    /// Somebody else receives this process's log lines or metrics.
    #[error("{0} of this process already go elsewhere; set telemetry up first")]
    Taken(&'static str),
    /// The metrics recorder.
    #[error("metrics cannot be recorded: {0}")]
    Recorder(#[from] BuildError),
}

/// Logging and metrics of this process.
#[derive(Clone)]
pub struct Telemetry {
    metrics: PrometheusHandle,
    filter: reload::Handle<EnvFilter, Registry>,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

/// Logging and metrics belong to the process, so they are set up once.
static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();

/// Sets up logging and metrics. Called again it only changes which lines are written.
///
/// # Errors
/// The filter is unusable, or somebody else has taken this process's log lines or metrics.
pub fn init(config: &Config) -> Result<Telemetry, TelemetryError> {
    init_to(config, std::io::stderr)
}

/// The same with log lines that go somewhere else than to standard error.
///
/// # Errors
/// The filter is unusable, or somebody else has taken this process's log lines or metrics.
pub fn init_to<W>(config: &Config, writer: W) -> Result<Telemetry, TelemetryError>
where
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    if let Some(telemetry) = TELEMETRY.get() {
        telemetry.refilter(&config.log)?;
        return Ok(telemetry.clone());
    }
    let (filter, handle) = reload::Layer::new(filter(&config.log).map_err(TelemetryError::Filter)?);
    let terminal = std::io::stderr().is_terminal();
    let subscriber = tracing_subscriber::registry().with(filter).with(lines(config, terminal, writer));
    subscriber.try_init().map_err(|_| TelemetryError::Taken("the log lines"))?;
    let recorder = recorder()?;
    let metrics = recorder.handle();
    metrics::set_global_recorder(recorder).map_err(|_| TelemetryError::Taken("the metrics"))?;
    describe();
    Ok(TELEMETRY.get_or_init(|| Telemetry { metrics, filter: handle }).clone())
}

impl Telemetry {
    /// Every metric in Prometheus' text format.
    pub fn render(&self) -> String {
        self.metrics.render()
    }

    /// Folds what histograms have gathered. To be called every few seconds: without it they grow for as long as
    /// nobody scrapes.
    pub fn upkeep(&self) {
        self.metrics.run_upkeep();
    }

    /// Changes which log lines are written.
    ///
    /// # Errors
    /// The filter is unusable; the old one stays.
    pub fn refilter(&self, log: &str) -> Result<(), TelemetryError> {
        let filter = filter(log).map_err(TelemetryError::Filter)?;
        self.filter.reload(filter).map_err(|_| TelemetryError::Taken("the log lines"))
    }
}

/// Reads `log`.
///
/// # Errors
/// A sentence for the person who wrote it.
pub fn filter(log: &str) -> Result<EnvFilter, String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    const HINT: &str =
        "write a level (off, error, warn, info, debug, trace) or levels for parts, as in info,mailspan::graph=debug";
    for part in log.split(',').map(str::trim) {
        // Taken alone, a misspelt level would count as the name of a part, and everything else would fall silent.
        if !part.contains(['=', '[', ':']) && !LEVELS.contains(&part.to_ascii_lowercase().as_str()) {
            return Err(format!("`{part}` is no level; {HINT}"));
        }
    }
    EnvFilter::try_new(log).map_err(|error| format!("is not usable ({error}); {HINT}"))
}

fn lines<S, W>(config: &Config, terminal: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    W: for<'w> fmt::MakeWriter<'w> + Send + Sync + 'static,
{
    // A closed standard error must not take the daemon down with it.
    let layer = fmt::layer().with_writer(writer).with_ansi(terminal).log_internal_errors(false);
    let layer = match (config.format, terminal) {
        (Format::Text, _) | (Format::Auto, true) => layer.boxed(),
        (Format::Json, _) | (Format::Auto, false) => layer.json().flatten_event(true).with_span_list(false).boxed(),
    };
    let redact = config.redact;
    let speaks = move |line: &tracing::Metadata<'_>| {
        // Of a database that goes away the store tells once; its driver would for each of its connections.
        let loudest = if line.target().starts_with("sqlx") { tracing::Level::ERROR } else { tracing::Level::INFO };
        !redact || line.target().starts_with("mailspan") || *line.level() <= loudest
    };
    layer.with_filter(filter::filter_fn(speaks)).boxed()
}

/// From an answer out of memory to a request that took its whole time limit.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// From "at once" to the last step of the retry schedule.
const DELIVERY_SECONDS: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0, 7_200.0, 21_600.0, 43_200.0, 86_400.0,
    345_600.0,
];

fn recorder() -> Result<PrometheusRecorder, BuildError> {
    let delivery = Matcher::Full("mailspan_delivery_seconds".into());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)?;
    let submission = Matcher::Full("mailspan_submission_seconds".into());
    let builder = builder.set_buckets_for_metric(delivery, DELIVERY_SECONDS)?;
    Ok(builder.set_buckets_for_metric(submission, DELIVERY_SECONDS)?.build_recorder())
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// THE LIST of metrics: name, kind, unit and what it says.
const METRICS: &[(&str, Kind, Unit, &str)] = {
    use Kind::{Counter, Gauge, Histogram};
    use Unit::{Bytes, Count, Seconds};
    &[
        (
            "mailspan_configuration_reloads_total",
            Counter,
            Count,
            "Times the configuration was read anew, by outcome: applied, unchanged or refused",
        ),
        (
            "mailspan_configuration_loaded_timestamp_seconds",
            Gauge,
            Seconds,
            "When the configuration in force was read, in Unix time",
        ),
        ("mailspan_notifications_total", Counter, Count, "Notifications received from Graph, by result"),
        ("mailspan_notification_ack_seconds", Histogram, Seconds, "Time to acknowledge a notification"),
        ("mailspan_graph_requests_total", Counter, Count, "Requests to Graph, by operation and status"),
        ("mailspan_graph_request_seconds", Histogram, Seconds, "Time a request to Graph took"),
        ("mailspan_graph_throttled_total", Counter, Count, "Requests Graph asked to send again later"),
        ("mailspan_token_refreshes_total", Counter, Count, "Access tokens asked for, by tenant and outcome"),
        ("mailspan_credential_expiry_timestamp_seconds", Gauge, Seconds, "When a credential expires, in Unix time"),
        (
            "mailspan_credential_accepted",
            Gauge,
            Count,
            "Whether Entra accepted a credential when it was last used or tried: 1 or 0",
        ),
        (
            "mailspan_subscription_expiry_timestamp_seconds",
            Gauge,
            Seconds,
            "When a mailbox's subscription expires, in Unix time",
        ),
        ("mailspan_sign_in_valid", Gauge, Count, "Whether the user of a delegated mailbox is signed in: 1 or 0"),
        ("mailspan_mailbox_push", Gauge, Count, "Whether a mailbox is watched by push (1) or polling (0)"),
        (
            "mailspan_messages_found_total",
            Counter,
            Count,
            "Messages found, by mailbox and by what found them: push, poll, sweep or start",
        ),
        ("mailspan_messages_filtered_total", Counter, Count, "Messages left alone because no route takes them"),
        ("mailspan_deliveries_total", Counter, Count, "Delivery attempts, by route and outcome"),
        ("mailspan_delivery_seconds", Histogram, Seconds, "Time from received in the mailbox to accepted, by route"),
        ("mailspan_queue_depth", Gauge, Count, "Deliveries waiting, by route"),
        ("mailspan_queue_oldest_seconds", Gauge, Seconds, "Age of the oldest delivery waiting, by route"),
        ("mailspan_parked", Gauge, Count, "Deliveries that need a person, by route"),
        (
            "mailspan_route_paused",
            Gauge,
            Count,
            "Whether a route is paused because its destination takes nothing: 1 or 0",
        ),
        ("mailspan_callbacks_total", Counter, Count, "Attempts at telling a submitter of a final state, by outcome"),
        ("mailspan_callbacks_waiting", Gauge, Count, "Callbacks waiting"),
        ("mailspan_callbacks_parked", Gauge, Count, "Callbacks that need a person"),
        ("mailspan_submissions_total", Counter, Count, "Mails handed in, by what became of them"),
        (
            "mailspan_submission_seconds",
            Histogram,
            Seconds,
            "Time from accepted, or from when it was to leave, to found sent",
        ),
        ("mailspan_smtp_logins_total", Counter, Count, "Logins at the submission listener, by outcome"),
        ("mailspan_store_seconds", Histogram, Seconds, "Time an operation of the store took"),
        (
            "mailspan_parked_messages",
            Gauge,
            Count,
            "Messages that need a person before they can be delivered, by mailbox",
        ),
        ("mailspan_audit_imbalance", Gauge, Count, "Messages the last audit of a mailbox could not account for"),
        (
            "mailspan_audit_last_timestamp_seconds",
            Gauge,
            Seconds,
            "When a mailbox was last audited to its end, in Unix time",
        ),
        ("mailspan_memory_budget_bytes", Gauge, Bytes, "Memory for message bytes, by state: used and free"),
        ("mailspan_replicas", Gauge, Count, "Replicas that live on one database, as this one sees it"),
        ("mailspan_build_info", Gauge, Count, "Always 1; the labels say which build this is"),
    ]
};

fn describe() {
    for &(name, kind, unit, help) in METRICS {
        match kind {
            Kind::Counter => metrics::describe_counter!(name, unit, help),
            Kind::Gauge => metrics::describe_gauge!(name, unit, help),
            Kind::Histogram => metrics::describe_histogram!(name, unit, help),
        }
    }
    metrics::gauge!("mailspan_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn written(format: Format, redact: bool, terminal: bool, lines_of: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let config = Config { log: "trace".into(), format, redact };
        let subscriber = tracing_subscriber::registry().with(filter(&config.log).unwrap()).with(lines(
            &config,
            terminal,
            move || writer.clone(),
        ));
        tracing::subscriber::with_default(subscriber, lines_of);
        String::from_utf8(page.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn lines_are_json_unless_a_person_reads_them() {
        let say = || tracing::info!(job = 7, "Delivery 7 was accepted");
        for (format, terminal) in [(Format::Json, true), (Format::Json, false), (Format::Auto, false)] {
            let line: serde_json::Value = serde_json::from_str(&written(format, true, terminal, say)).unwrap();
            assert_eq!(line["message"], "Delivery 7 was accepted");
            assert_eq!(line["job"], 7);
            assert_eq!(line["level"], "INFO");
        }
        for (format, terminal) in [(Format::Text, false), (Format::Auto, true)] {
            let line = written(format, true, terminal, say);
            assert!(line.contains("Delivery 7 was accepted") && !line.starts_with('{'), "{line}");
        }
    }

    #[test]
    fn redacting_leaves_out_what_libraries_say_in_detail() {
        let say = || {
            tracing::debug!(target: "reqwest::connect", "GET /users/support@contoso.com");
            tracing::warn!(target: "hyper", "slow");
            tracing::warn!(target: "sqlx::pool", "a connection broke");
            tracing::debug!(target: "mailspan::graph", "asked");
        };
        let redacted = written(Format::Json, true, false, say);
        assert!(!redacted.contains("support@contoso.com") && redacted.contains("slow") && redacted.contains("asked"));
        assert!(!redacted.contains("a connection broke"), "{redacted}");
        assert!(written(Format::Json, false, false, say).contains("support@contoso.com"));
    }

    #[test]
    fn a_misspelt_level_is_refused_instead_of_silencing_everything() {
        for good in ["info", "WARN", "info,mailspan::graph=debug", "off", "mailspan=trace,sqlx=warn"] {
            assert!(filter(good).is_ok(), "{good}");
        }
        for wrong in ["", "inof", "info,verbose", "mailspan=loud"] {
            assert!(filter(wrong).unwrap_err().contains("write a level"), "{wrong}");
        }
    }

    #[test]
    fn every_metric_is_described_and_histograms_have_buckets_in_seconds() {
        let recorder = recorder().unwrap();
        metrics::with_local_recorder(&recorder, || {
            describe();
            for &(name, kind, ..) in METRICS {
                match kind {
                    Kind::Counter => metrics::counter!(name).increment(1),
                    Kind::Gauge => metrics::gauge!(name).set(1.0),
                    Kind::Histogram => metrics::histogram!(name).record(0.02),
                }
            }
        });
        recorder.handle().run_upkeep();
        let text = recorder.handle().render();
        for (name, kind, _, help) in METRICS {
            assert!(text.contains(&format!("# HELP {name} {help}")), "{name}");
            let kind = format!("{kind:?}").to_lowercase();
            assert!(text.contains(&format!("# TYPE {name} {kind}")), "{name}: {text}");
        }
        assert!(text.contains("mailspan_store_seconds_bucket{le=\"0.025\"} 1"), "{text}");
        assert!(text.contains("mailspan_delivery_seconds_bucket{le=\"345600\"} 1"), "{text}");
        assert!(text.contains(concat!("mailspan_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1")), "{text}");
    }

    #[test]
    fn setting_up_twice_changes_the_filter_and_keeps_the_metrics() {
        let config = Config { log: "error".into(), format: Format::Json, redact: true };
        let first = init(&config).unwrap();
        metrics::counter!("mailspan_graph_throttled_total").increment(1);
        let second = init(&Config { log: "off".into(), ..config.clone() }).unwrap();
        second.upkeep();
        assert!(first.render().contains("mailspan_graph_throttled_total 1"));
        assert!(second.render().contains("mailspan_graph_throttled_total 1"));
        assert!(matches!(init(&Config { log: "inof".into(), ..config }), Err(TelemetryError::Filter(_))));
    }
}
