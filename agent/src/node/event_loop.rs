//! The loop: it takes one input at a time and hands it to its route (`routes/`), which returns without waiting.

use std::{sync::Arc, time::Duration};

use capture_format::chain;
use futures::{StreamExt, stream::BoxStream};
use kubernetes::{captures::Notice, namespaces::NamespaceInfo, pods::PodChange};
use spool::{Progress, SavedRun};
use tokio::{
    signal::unix::Signal,
    sync::mpsc,
    time::{MissedTickBehavior, interval, sleep},
};
use triggers::{Observation, Subject};

use super::{
    clock::Clock,
    closing::{Clients, LONGEST_WAIT},
    handle::Request,
    recording::{RecordingThread, Report},
    state::{
        account::Account, histories::Histories, lives::Lives, loops::Loops, orders::Orders,
        outside::Outside, pods::Pods,
    },
    tasks::{Input, Tasks},
};
use crate::{config::Config, host, logging, metrics::Metrics};

/// How often things are forgotten that nobody needs any more.
const TIDY: Duration = Duration::from_secs(30);
/// How long runs that ended while no agent ran wait for the API server to say whose they are. Nobody else knows which
/// run of its container each is. Rings hold what goes on meanwhile.
const NAMES_PATIENCE: Duration = Duration::from_secs(5);

/// The node: the owners of its state, and those that work for it.
pub(super) struct Node {
    pub(super) lives: Lives,
    pub(super) histories: Histories,
    pub(super) pods: Pods,
    pub(super) orders: Orders,
    pub(super) loops: Loops,
    pub(super) outside: Outside,
    pub(super) account: Account,
    /// The clock of the triggers.
    pub(super) clock: Clock,
    pub(super) config: Arc<Config>,
    pub(super) clients: Clients,
    pub(super) recording: Arc<RecordingThread>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tasks: Tasks,
}

/// Where the loop's inputs come from.
pub(super) struct Sources {
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) inputs: mpsc::UnboundedReceiver<Input>,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) pods: BoxStream<'static, PodChange>,
    pub(super) namespaces: BoxStream<'static, kubernetes::Change<NamespaceInfo>>,
    pub(super) notices: BoxStream<'static, Notice>,
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
    /// Without object storage nothing comes.
    pub(super) uploads: mpsc::Receiver<Progress>,
}

impl Node {
    /// Runs until somebody asks to stop.
    ///
    /// # Errors
    /// The recorder does not work any longer.
    pub(super) async fn serve(&mut self, sources: &mut Sources) -> anyhow::Result<()> {
        let mut tidy = interval(TIDY);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut waits = self.recording.setup.has_taken_over && self.clients.kube.is_some();
        let patience = sleep(NAMES_PATIENCE);
        tokio::pin!(patience);
        loop {
            waits &= !self.outside.knows_pods();
            let now = self.clock.now();
            let due = self.orders.next_due().map(|due| due.since(now));
            tokio::select! {
                // What the kernel says comes first: rings wait for it.
                biased;
                Some(report) = sources.reports.recv(), if !waits => self.report(report)?,
                () = &mut patience, if waits => waits = false,
                Some(input) = sources.inputs.recv() => self.input(input),
                Some(pod) = sources.pods.next() => self.pod(pod),
                Some(namespace) = sources.namespaces.next() => self.namespace(namespace),
                Some(notice) = sources.notices.next() => self.noticed(notice),
                Some(progress) = sources.uploads.recv() => self.uploaded(progress),
                Some(request) = sources.requests.recv() => self.request(request),
                () = sleep(due.unwrap_or(TIDY)) => {
                    let decisions = self.orders.due(self.clock.now());
                    self.decide(decisions);
                }
                _ = tidy.tick() => self.tidy(),
                Some(_) = self.tasks.join_next() => {}
                _ = sources.terminate.recv() => return Ok(()),
                _ = sources.interrupt.recv() => return Ok(()),
            }
            if self.histories.take_changed() {
                let runs = self.runs_to_save();
                self.outside.save_soon(runs);
            }
        }
    }

    /// The runs that the next agent should get if this one is killed or stops. Of a container whose name is not known,
    /// nothing is left where its pod may be opted out.
    fn runs_to_save(&self) -> Vec<SavedRun> {
        self.histories.saved(|subject| !self.may_be_off(subject))
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Who(answer) => self.answered(answer),
            Input::Runtime(all) => self.found_runtime(&all),
            Input::RunClosed {
                cgroup,
                ended,
                result,
            } => self.run_closed(cgroup, ended, result),
            Input::LiveRunRead(read) => self.live_run_read(*read),
            Input::ClaimAnswered(answer) => self.claim_answered(*answer),
            Input::DeletionSettled(id) => self.outside.deletion_settled(&id),
            Input::OrderDone(done) => self.order_done(*done),
        }
    }

    fn uploaded(&mut self, progress: Progress) {
        let is_there = matches!(progress, Progress::Uploaded { .. });
        self.metrics.uploaded(is_there);
        if let Some(work) = self.outside.uploaded(progress) {
            self.tasks.spawn_blocking(work);
        }
    }

    fn tidy(&mut self) {
        logging::summarise();
        self.pods.expire();
        self.ask_runtime_again();
        self.observe_not_ready();
        self.forget_old();
        self.histories.drop_stale();
        for news in self.loops.due(self.clock.now()) {
            self.tasks
                .spawn_blocking(self.outside.say(news, host::realtime()));
        }
        self.tasks.spawn_blocking(self.outside.enforce());
        // Who is opted out may have become known, and what could not be written is tried again.
        let runs = self.runs_to_save();
        self.outside.save_soon(runs);
    }

    /// Forgets containers that have not run for long, where no API server says that their pods are gone.
    fn forget_old(&mut self) {
        let live = self.lives.subjects();
        let stays = |subject: &Subject| self.pods.has(&subject.pod_uid) || live.contains(subject);
        for subject in self.histories.forget_old(stays) {
            // Nothing is decided about what is gone.
            self.orders
                .observe(self.clock.now(), &subject, Observation::Gone);
        }
    }

    /// Waits for work that is under way, and leaves the kept runs to the next agent.
    pub(super) async fn stop(mut self, mut sources: Sources) {
        /// With time to write it; shorter than a pod's grace period.
        const PATIENCE: Duration = LONGEST_WAIT.saturating_add(Duration::from_secs(3));
        self.recording.stop();
        let mut recording = true;
        let finish = async {
            loop {
                tokio::select! {
                    biased;
                    report = sources.reports.recv(), if recording => match report.map(|report| self.report(report)) {
                        Some(Ok(())) => {}
                        Some(Err(error)) => tracing::error!("{error:#}"),
                        None => recording = false,
                    },
                    Some(input) = sources.inputs.recv() => self.input(input),
                    task = self.tasks.join_next(), if !(recording && self.tasks.is_empty()) => {
                        if task.is_none() && sources.inputs.is_empty() {
                            break;
                        }
                    }
                }
            }
        };
        if tokio::time::timeout(PATIENCE, finish).await.is_err() {
            tracing::warn!("captures that were under way are given up");
        }
        // The recording thread is waited for at the end, and must not wait for us.
        drop(sources);
        let runs = self.runs_to_save();
        match self.outside.save(&runs) {
            Ok(left_out) => tracing::info!(
                runs = runs.len() - left_out,
                left_out,
                "kept runs wait for the next start"
            ),
            Err(error) => {
                tracing::error!(error = %chain(&error), "kept runs cannot be left to the next start")
            }
        }
    }
}
