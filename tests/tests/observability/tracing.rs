//! One trace from the call of an administrator to what the agent does.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use starling_proto::v1::ApplyRequest;
use starling_proto::v1::admin_service_client::AdminServiceClient;
use starling_telemetry::export::{Export, ExportMetrics, Service};
use starling_tests::steps::wait;
use starling_tests::views::{self, Cluster};
use tokio::runtime::Runtime;
use tonic::Request;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::bed::Bed;
use crate::collector::{Collector, Recorded};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const COMMAND: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "00f067aa0ba902b7";

/// From the call to its end on the cluster, each the parent of the next.
const CHAIN: [(&str, &str); 7] = [
    ("starling-hub", "admin call"),
    ("starling-hub", "decide"),
    ("starling-hub", "commit"),
    ("starling-hub", "plan"),
    ("starling-hub", "send plan"),
    ("starling-agent", "receive plan"),
    ("starling-agent", "apply plan"),
];

const ASSIGNMENT: &str = "\
apiVersion: starling.dev/v1alpha1
kind: AddonAssignment
metadata: {name: web, namespace: starling-platform}
spec: {addon: {name: web}, version: 1.0.0, clusterSelector: {matchLabels: {tier: edge}}}
";

#[test]
fn a_change_is_one_trace_from_the_admin_call_to_the_agents_apply() -> Result<()> {
    let runtime = Arc::new(Runtime::new()?);
    let collector = Collector::start(&runtime)?;
    let export = {
        let _entered = runtime.enter();
        let service = Service { name: "starling-agent", version: "test", fleet: "observed".to_owned() };
        Export::start(&collector.endpoint(), &service, &ExportMetrics::default())?
    };
    // Of the agents, which run in this process; the hub is one of its own.
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(export.layer()))?;
    let bed = Bed::start("tracing", &runtime, &["--otlp-endpoint", &collector.endpoint()])?;
    let adoption = bed.adopt("edge-1")?;
    let _agent = bed.run_agent("edge-1", &adoption);
    wait("the cluster to be live", || {
        let clusters: Vec<Cluster> = views::list(&bed.hub, &[])?;
        ensure!(clusters.iter().any(|cluster| cluster.connection == "live"), "{clusters:?}");
        Ok(())
    })?;

    let mut admin = AdminServiceClient::new(bed.channel(&adoption)?);
    let mut apply = Request::new(ApplyRequest { documents: ASSIGNMENT.to_owned(), ..ApplyRequest::default() });
    let metadata = apply.metadata_mut();
    metadata.insert("authorization", format!("Bearer {}", bed.token()?).parse()?);
    metadata.insert("traceparent", format!("00-{TRACE}-{CALLER}-01").parse()?);
    runtime.block_on(admin.apply(apply)).context("apply an assignment")?;

    let trace = bytes(TRACE);
    wait("the trace to be whole", || {
        let spans = collector.trace(&trace);
        let has = |service: &str, name: &str| spans.iter().any(|span| (&*span.service, &*span.name) == (service, name));
        ensure!(has("starling-agent", "apply install"), "no install was applied: {spans:#?}");
        ensure!(has("starling-hub", "receipt"), "no receipt arrived: {spans:#?}");
        let applied: Vec<_> = spans.iter().filter(|span| span.name == "apply plan").collect();
        ensure!(applied.len() == 1, "one cluster applies one plan: {spans:#?}");
        // Spans arrive after the work that they tell of, parents after their children.
        let chain = ancestors(&spans, applied[0]);
        let names: Vec<(&str, &str)> = chain.iter().map(|span| (&*span.service, &*span.name)).collect();
        ensure!(names == CHAIN, "{names:?}");
        ensure!(chain[0].parent == bytes(CALLER), "the call continues its caller's trace: {:?}", chain[0]);
        Ok(())
    })?;
    // A program that is started in a trace hands it on.
    let status = Command::new(bed.hub.programs().path("starling"))
        .env("TRACEPARENT", format!("00-{COMMAND}-{CALLER}-01"))
        .arg("--config")
        .arg(bed.hub.context_file())
        .arg("status")
        .output()
        .context("run starling")?;
    ensure!(status.status.success(), "{status:?}");
    wait("the command's trace to go on in the hub", || {
        let spans = collector.trace(&bytes(COMMAND));
        ensure!(spans.iter().any(|span| span.name == "admin call" && span.parent == bytes(CALLER)), "{spans:?}");
        Ok(())
    })?;
    // What nobody asked for through a call begins at the source.
    wait("the first reading of the directory to be exported", || {
        let spans = collector.named("source change");
        ensure!(spans.iter().any(|span| span.service == "starling-hub" && span.parent.is_empty()), "{spans:?}");
        Ok(())
    })?;
    ensure!(bed.metric("starling_otlp_spans_exported_total")? > 0.0);
    ensure!(bed.metric("starling_otlp_spans_dropped_total{reason=\"queue-full\"}")? == 0.0);
    bed.hub.stop(Duration::from_secs(30))?;
    runtime.block_on(export.flush(Duration::from_secs(5)));
    Ok(())
}

#[test]
fn a_collector_that_is_away_costs_spans_and_nothing_else() -> Result<()> {
    let runtime = Arc::new(Runtime::new()?);
    // A port that nobody listens on.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let bed = Bed::start("tracing-away", &runtime, &["--otlp-endpoint", &format!("http://{nobody}")])?;
    wait("spans to be dropped and counted", || {
        bed.hub.ask(&["status"])?;
        ensure!(bed.metric("starling_otlp_spans_dropped_total{reason=\"collector\"}")? > 0.0);
        Ok(())
    })?;
    let log = std::fs::read_to_string(bed.hub.process().log_path())?;
    ensure!(log.matches("the collector of traces does not take them").count() == 1, "{log}");
    bed.hub.stop(Duration::from_secs(30))
}

/// Returns the way from the first span that is known to this one.
fn ancestors(spans: &[Recorded], last: &Recorded) -> Vec<Recorded> {
    let mut chain = vec![last.clone()];
    while let Some(parent) = spans.iter().find(|span| span.id == chain[chain.len() - 1].parent) {
        chain.push(parent.clone());
    }
    chain.reverse();
    chain
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits")).collect()
}
