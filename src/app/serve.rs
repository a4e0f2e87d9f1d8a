//! Runs a replica.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::core::close_store;
use super::keyring::Watched;
use super::lifecycle::{DRAIN_PATIENCE, Lifecycle, WRITES_PATIENCE, asked_to_end};
use super::{Core, SeedFile, banner, load};
use crate::config::{Config, Database};
use crate::domain::By;
use crate::feed::{
    Applier, CensusTask, LinkTask, ListenTask, PollTask, Proof, SubscribeTask, prune,
};
use crate::http::{self, Front, RateLimit, Reach, Tls, TokenRates};
use crate::service::{Auditor, ChainTask, Service, destroy_deleted};
use crate::telemetry::logging::chain;
use crate::telemetry::metrics::{self, CACHE_ENTRIES, FENCED, PROOF_AGE, counter_of, gauge_of};

/// How long the start waits for Redis.
const REDIS_PATIENCE: Duration = Duration::from_secs(2);

/// Serves until the process is asked to end, then finishes what is in flight.
///
/// # Errors
/// It can't start (the message says what to do), or a background task died.
pub async fn serve(config: Config) -> anyhow::Result<()> {
    // First, as nothing is begun that would have to be ended if its files can't be used.
    let tls = match &config.http.tls {
        Some(files) => Some(Arc::new(Tls::load(files.clone()).await?)),
        None => None,
    };
    let recorder = metrics::install().context("installing the metrics recorder")?;
    let (interval, bound) = (config.feed.poll_interval, config.feed.staleness_bound);
    let process = (config.telemetry.instance_id.as_str(), bound);
    let redis = config.redis.as_ref();
    let core =
        Core::build((&config.database, &config.keyring), redis, &config.cache, process).await?;
    let mut lifecycle = Lifecycle::default();
    let Core { store, keyring, service, applier, l2, postgres, trail, barriers, writes, loads } =
        core;
    let poll = PollTask::begin(Arc::clone(&store), Arc::clone(&applier), interval, bound);
    // The baseline before anything is cached, and before Redis is believed.
    let poll = poll.await.context("reading the change log")?;
    let proof = poll.proof();
    // Whoever replaces a key has looked at this replica's row, or had written the file before it
    // was there.
    let mut watched = Watched::of(keyring, &config.keyring.path);
    watched.reload().await;
    lifecycle.supervise("watch of the keyring", |stop| watched.watch(stop));
    let embedded = matches!(config.database, Database::Sqlite { embedded: true, .. });
    if embedded && store.is_empty().await? {
        let demo = SeedFile::demo()?;
        load(store.as_ref(), &service, demo, &By::system())
            .await
            .context("loading the demo tenant")?;
    }
    if let Some(l2) = &l2 {
        let (to, log) = (Arc::clone(l2), Arc::clone(&store));
        let link = LinkTask { l2: to, store: log, applier: Arc::clone(&applier) };
        // The first requests find it connected; if it can't be, the task goes on trying.
        match tokio::time::timeout(REDIS_PATIENCE, link.connect()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = chain(&error), "Redis is out of reach; serving without it");
            }
            Err(_) => tracing::warn!("connecting Redis takes long; serving without it meanwhile"),
        }
        lifecycle.supervise("redis", |stop| link.run(stop));
        let (l2, applier, barriers) = (Arc::clone(l2), Arc::clone(&applier), Arc::clone(&barriers));
        let task = SubscribeTask { l2, applier, barriers };
        lifecycle.supervise("redis subscription", |stop| task.run(stop));
    }
    if let Some(postgres) = postgres {
        let task = ListenTask { postgres: postgres.postgres, applier: Arc::clone(&applier) };
        lifecycle.supervise("listen", |stop| task.run(stop));
        lifecycle.supervise("notify", |stop| postgres.notify.run(stop));
    }
    lifecycle.supervise("poll", |stop| poll.run(stop));
    let census = CensusTask { store: Arc::clone(&store), barriers, bound };
    lifecycle.supervise("census", |stop| census.run(stop));
    let (pruned, retention) = (Arc::clone(&store), config.feed.retention);
    lifecycle.supervise("prune", |stop| prune(pruned, retention, stop));
    let (destroyed, kept) = (Arc::clone(&store), config.retention);
    lifecycle.supervise("destruction", |stop| destroy_deleted(destroyed, kept, stop));
    lifecycle.supervise("audit trail", |stop| trail.run(stop));
    let chain = ChainTask { store: Arc::clone(&store), retention: config.audit.retention };
    lifecycle.supervise("chain of the audit trail", |stop| chain.run(stop));
    let watched = service.clone();
    lifecycle.supervise("watch of the database", |stop| watched.watch_store(stop));
    let watched = service.clone();
    lifecycle.supervise("expiry of credentials", |stop| watched.watch_expiry(stop));
    service.prepare_for_tokens().await;
    let noted = service.clone();
    lifecycle.supervise("uses of tokens", |stop| noted.note_uses_of_tokens(stop));
    if let Some(rate) = config.cache.audit_rate {
        let auditor = Auditor::new(store.clone(), Arc::clone(applier.cache()), rate, bound);
        lifecycle.supervise("auditor", |stop| auditor.run(stop));
    }
    if let Some(tls) = &tls {
        lifecycle.supervise("renewal of the certificate", |stop| Arc::clone(tls).watch(stop));
    }
    let watch = Watch { applier, proof };
    lifecycle.supervise("watch", |stop| watch.run(recorder.clone(), stop));

    let listener = TcpListener::bind(config.http.address).await.with_context(|| {
        format!("listening on {} (HOST, PORT); is another process there?", config.http.address)
    })?;
    let address = listener.local_addr().context("reading the address listened on")?;
    banner::show(&config, address, service.health().await);
    banner::tell_of_anonymous(config.http.anonymous);

    let outcome = answer((listener, tls), &config, &service, recorder, &mut lifecycle).await;
    writes.close();
    loads.close();
    let finished = async { tokio::join!(writes.wait(), loads.wait()) };
    if tokio::time::timeout(WRITES_PATIENCE, finished).await.is_err() {
        tracing::warn!("writes or loads took too long to finish and were cut off");
    }
    lifecycle.stop().await;
    close_store(store.as_ref()).await;
    tracing::info!("stopped");
    outcome
}

/// Answers requests until told to end, by a signal or by the death of a background task.
async fn answer(
    (listener, tls): (TcpListener, Option<Arc<Tls>>),
    config: &Config,
    service: &Service,
    metrics: PrometheusHandle,
    lifecycle: &mut Lifecycle,
) -> anyhow::Result<()> {
    let rates = config.http.per_second.map(RateLimit::new);
    let state = http::AppState {
        service: service.clone(),
        anonymous: config.http.anonymous,
        reach: if config.http.open_by_default { Reach::Local } else { Reach::Any },
        places: config.http.most_at_once.map(|most| Arc::new(Semaphore::new(most.get().into()))),
        rates: rates.map(Arc::new),
        token_rates: config.http.token_per_second.map(TokenRates::new).map(Arc::new),
        proxies: config.http.proxies.clone(),
        metrics,
        limits: http::Limits::with_writes_that_wait(config.feed.staleness_bound),
    };
    // Ends once it was told to drain, and not before.
    let front = Front::leak(state);
    let mut server = pin!(http::serve(listener, front, tls, lifecycle.draining()));
    let (notice, outcome) = tokio::select! {
        () = &mut server => return Ok(()),
        signal = asked_to_end() => {
            let signal = signal.context("receiving signals")?;
            tracing::info!(%signal, "stopping");
            (signal.notice(), Ok(()))
        }
        failure = lifecycle.failure() => {
            tracing::error!(%failure, "ending the process");
            (Duration::ZERO, Err(failure))
        }
    };
    service.begin_stopping();
    tokio::select! {
        () = &mut server => {}
        () = tokio::time::sleep(notice) => {}
        _ = asked_to_end() => {}
    }
    tracing::info!("finishing the requests in flight");
    lifecycle.drain();
    tokio::select! {
        () = server => {}
        () = tokio::time::sleep(DRAIN_PATIENCE) => {
            tracing::warn!("requests took too long to finish and were cut off");
        }
        _ = asked_to_end() => tracing::warn!("asked to end again; requests in flight were cut off"),
    }
    outcome
}

/// Looks after what no event tells of: gauges, and a deadline that passes.
struct Watch {
    applier: Arc<Applier>,
    proof: Arc<Proof>,
}

impl Watch {
    async fn run(self, recorder: PrometheusHandle, stop: CancellationToken) {
        let (age, entries) = (gauge_of(PROOF_AGE, &[]), gauge_of(CACHE_ENTRIES, &[("tier", "l1")]));
        let times_fenced = counter_of(FENCED, &[]);
        let cache = self.applier.cache();
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let serving = cache.serving();
        // At the start it was opened once, and never fenced.
        let (mut ticks, mut counted, mut is_told) = (0_u32, serving.times_opened(), false);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            age.set(self.proof.age().as_secs_f64());
            // Once an outage, not once a look; and also where it came and went between two looks.
            let (opened, is_fenced) = (serving.times_opened(), serving.is_fenced());
            let begun = opened + u64::from(is_fenced);
            if begun > counted {
                times_fenced.increment(begun - counted);
                (counted, is_told) = (begun, true);
                tracing::error!(
                    "the change log was not read within STALENESS_BOUND_MS; reading past the cache"
                );
            }
            if is_told && !is_fenced {
                is_told = false;
                tracing::info!("serving from the cache again");
            }
            // Fewer than 2^52 entries fit any memory.
            #[expect(clippy::cast_precision_loss, reason = "far below a float's last integer")]
            entries.set(cache.l1().len() as f64);
            ticks = ticks.wrapping_add(1);
            if ticks.is_multiple_of(50) {
                recorder.run_upkeep();
            }
        }
    }
}
