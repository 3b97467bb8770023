//! What is kept of each container across its restarts: its last runs, and who it is.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use capture_format::{BootTime, CgroupId, chain};
use containers::directory::Identity;
use spool::SavedRun;
use triggers::Subject;

use super::super::{closing::Around, kept::KeptRun};
use crate::host;

/// How long the runs of a container that does not run any more are kept, where nobody says that it is gone.
const KEPT_FOR: Duration = Duration::from_secs(60 * 60);

/// What is kept of one container.
#[derive(Default)]
struct History {
    /// First run first.
    kept: VecDeque<Arc<KeptRun>>,
    /// Number of the newest run that started, where nobody else counts them.
    newest: u32,
    /// When it last started, ended, or was remembered from before.
    seen: BootTime,
    identity: Option<Identity>,
    /// Paths at which secrets are mounted.
    secret_mounts: Vec<String>,
    /// Runs that are being closed.
    closing: usize,
    /// What the API server said when the last of them had ended, until a capture takes it.
    around: Option<Around>,
}

impl History {
    fn sort(&mut self) {
        self.kept
            .make_contiguous()
            .sort_by_key(|run| run.run.number);
    }
}

/// See the module.
pub(crate) struct Histories {
    of: HashMap<Subject, History>,
    /// Runs that are kept of one container, at most.
    most_runs: usize,
    /// Bytes of all kept runs, at most.
    most_bytes: u64,
    /// Whether other runs are kept than when somebody last asked.
    changed: bool,
}

impl Histories {
    pub(crate) fn new(most_runs: usize, most_bytes: u64) -> Self {
        Self {
            of: HashMap::new(),
            most_runs,
            most_bytes,
            changed: false,
        }
    }

    /// Whether other runs are kept than when this was last asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// A run starts. Returns its number, as far as it is counted here. `counted`: the number that an earlier agent gave
    /// it.
    pub(crate) fn start(&mut self, subject: &Subject, time: BootTime, counted: Option<u32>) -> u32 {
        let history = self.of.entry(subject.clone()).or_default();
        let run = counted.unwrap_or(history.newest + 1);
        history.newest = history.newest.max(run);
        history.seen = time;
        run
    }

    /// Who a container is has become known: what is kept of `before` belongs to `subject`. True if anything was.
    pub(crate) fn identify(
        &mut self,
        before: &Subject,
        subject: &Subject,
        identity: Identity,
    ) -> bool {
        let run = identity.run();
        let unnamed = self.of.remove(before);
        let was_known = unnamed.is_some();
        let history = self.of.entry(subject.clone()).or_default();
        if let Some(unnamed) = unnamed {
            self.changed |= !unnamed.kept.is_empty();
            history
                .kept
                .extend(unnamed.kept.into_iter().map(|mut kept| {
                    // Without names it was the first of its container.
                    Arc::make_mut(&mut kept).run.number = run;
                    kept
                }));
            history.sort();
            history.closing += unnamed.closing;
        }
        history.identity = Some(identity);
        was_known
    }

    /// Containers that were gone before anybody could name them.
    pub(crate) fn unnamed(&self) -> Vec<Subject> {
        let unnamed = self.of.iter().filter(|(subject, history)| {
            history.identity.is_none() && containers::path::is_id(&subject.container)
        });
        unnamed.map(|(subject, _)| subject.clone()).collect()
    }

    /// A container sees secrets at these paths.
    pub(crate) fn set_secret_mounts(&mut self, subject: &Subject, paths: &[String]) {
        let history = self.of.entry(subject.clone()).or_default();
        history.secret_mounts = paths.to_vec();
    }

    /// Paths at which a container sees secrets.
    pub(crate) fn secret_mounts(&self, subject: &Subject) -> Vec<String> {
        let history = self.of.get(subject);
        history.map_or_else(Vec::new, |history| history.secret_mounts.clone())
    }

    /// A run is over, and is being closed.
    pub(crate) fn begin_closing(&mut self, subject: &Subject) {
        self.of.entry(subject.clone()).or_default().closing += 1;
    }

    /// A run is closed, or lost.
    pub(crate) fn end_closing(&mut self, subject: &Subject) {
        let history = self.of.entry(subject.clone()).or_default();
        history.closing = history.closing.saturating_sub(1);
        history.seen = host::boottime();
    }

    /// Whether a run is being closed.
    pub(crate) fn is_closing(&self, subject: &Subject) -> bool {
        self.of
            .get(subject)
            .is_some_and(|history| history.closing > 0)
    }

    /// Keeps a run; older ones give way. Runs that end soon after each other may be closed in another order.
    pub(crate) fn keep(&mut self, subject: &Subject, run: KeptRun) {
        let history = self.of.entry(subject.clone()).or_default();
        let number = run.run.number;
        let place = history
            .kept
            .partition_point(|before| before.run.number < number);
        history.kept.insert(place, Arc::new(run));
        while history.kept.len() > self.most_runs {
            history.kept.pop_front();
        }
        self.changed = true;
    }

    /// Drops the oldest runs of all, until the rest fits into its part of the budget. Returns the bytes of the rest.
    pub(crate) fn keep_to_budget(&mut self) -> u64 {
        let mut bytes = self.bytes();
        while bytes > self.most_bytes {
            let oldest = self
                .of
                .values_mut()
                .filter(|history| !history.kept.is_empty())
                .min_by_key(|history| history.kept.front().and_then(|run| run.run.end));
            let Some(dropped) = oldest.and_then(|history| history.kept.pop_front()) else {
                break;
            };
            bytes -= dropped.bytes().len() as u64;
            self.changed = true;
        }
        bytes
    }

    /// What the API server said when a run had ended: the capture that follows need not ask again.
    pub(crate) fn remember_around(&mut self, subject: &Subject, around: Around) {
        let history = self.of.entry(subject.clone()).or_default();
        history.around = Some(around).filter(Around::is_fresh);
    }

    /// See [`Self::remember_around`].
    pub(crate) fn take_around(&mut self, subject: &Subject) -> Option<Around> {
        self.of.get_mut(subject)?.around.take()
    }

    /// Drops what the API server said too long ago.
    pub(crate) fn drop_stale(&mut self) {
        for history in self.of.values_mut() {
            history.around.take_if(|around| !around.is_fresh());
        }
    }

    /// The kept runs of a container, first run first.
    pub(crate) fn runs(&self, subject: &Subject) -> Vec<Arc<KeptRun>> {
        let history = self.of.get(subject);
        history.map_or_else(Vec::new, |history| history.kept.iter().cloned().collect())
    }

    /// Whether the run is kept that was in this cgroup. No two cgroups have the same id until the next boot.
    pub(crate) fn has_run_in(&self, cgroup: CgroupId) -> bool {
        self.all().any(|(_, kept)| kept.run.cgroup == cgroup)
    }

    /// How many more runs of a container would be kept.
    pub(crate) fn room(&self, subject: &Subject) -> usize {
        let kept = self.of.get(subject).map_or(0, |history| history.kept.len());
        self.most_runs.saturating_sub(kept)
    }

    /// The newest kept run of a container.
    pub(crate) fn newest(&self, subject: &Subject) -> Option<&KeptRun> {
        self.of.get(subject)?.kept.back().map(AsRef::as_ref)
    }

    /// Who a container is, if one of its runs has started since the agent has.
    pub(crate) fn identity(&self, subject: &Subject) -> Option<&Identity> {
        self.of.get(subject)?.identity.as_ref()
    }

    /// All containers.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.of.keys()
    }

    /// Nothing of a container is kept any more; true if anything was known of it.
    pub(crate) fn forget(&mut self, subject: &Subject) -> bool {
        self.changed = true;
        self.of.remove(subject).is_some()
    }

    /// A pod is gone. What runs, or is being closed, stays until it is over.
    pub(crate) fn pod_gone(&mut self, pod_uid: &str, is_live: impl Fn(&Subject) -> bool) {
        self.changed = true;
        self.of.retain(|subject, history| {
            subject.pod_uid != pod_uid || history.closing > 0 || is_live(subject)
        });
    }

    /// Forgets containers that have not run for long, except those that stay. Returns the forgotten ones.
    pub(crate) fn forget_old(&mut self, stays: impl Fn(&Subject) -> bool) -> Vec<Subject> {
        let oldest = BootTime(
            host::boottime()
                .0
                .saturating_sub(KEPT_FOR.as_nanos() as u64),
        );
        let old = self.of.extract_if(|subject, history| {
            !(history.closing > 0 || history.seen > oldest || stays(subject))
        });
        let old: Vec<Subject> = old.map(|(subject, _)| subject).collect();
        self.changed |= !old.is_empty();
        old
    }

    /// Bytes of all kept runs.
    pub(crate) fn bytes(&self) -> u64 {
        self.all().map(|(_, run)| run.bytes().len() as u64).sum()
    }

    /// How many runs are kept.
    pub(crate) fn count(&self) -> usize {
        self.all().count()
    }

    fn all(&self) -> impl Iterator<Item = (&Subject, &Arc<KeptRun>)> {
        self.of
            .iter()
            .flat_map(|(subject, history)| history.kept.iter().map(move |run| (subject, run)))
    }

    /// An earlier agent captured runs up to this one of a container that nobody else counts the runs of.
    pub(crate) fn remember_newest(&mut self, subject: &Subject, run: u32) {
        let history = self.of.entry(subject.clone()).or_default();
        history.newest = history.newest.max(run);
        history.seen = host::boottime();
    }

    /// Takes back the runs that an earlier agent kept. Returns whose they are.
    pub(crate) fn restore(&mut self, saved: Vec<SavedRun>) -> Vec<Subject> {
        self.changed = true;
        for run in saved {
            let subject = Subject {
                pod_uid: run.pod_uid,
                container: run.container,
            };
            match KeptRun::from_bytes(run.bytes) {
                Ok(mut kept) => {
                    // Its name, and with that its number, may have come after it was encoded.
                    kept.run.number = run.run;
                    let history = self.of.entry(subject).or_default();
                    history.kept.push_back(Arc::new(kept));
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), container = subject.container, "a kept run cannot be read")
                }
            }
        }
        for history in self.of.values_mut() {
            history.sort();
            let newest = history.kept.back().map_or(0, |run| run.run.number);
            history.newest = history.newest.max(newest);
            history.seen = host::boottime();
        }
        self.of.keys().cloned().collect()
    }

    /// The kept runs of these containers, for the next agent.
    pub(crate) fn saved(&self, of: impl Fn(&Subject) -> bool) -> Vec<SavedRun> {
        let saved = |(subject, run): (&Subject, &Arc<KeptRun>)| SavedRun {
            pod_uid: subject.pod_uid.clone(),
            container: subject.container.clone(),
            run: run.run.number,
            bytes: run.bytes().clone(),
        };
        let all = self.all().filter(|(subject, _)| of(subject));
        all.map(saved).collect()
    }
}

#[cfg(test)]
mod tests {
    use capture_format::{BootTime, Header, Run, Writer};

    use super::*;

    fn subject(container: &str) -> Subject {
        Subject {
            pod_uid: "u1".to_owned(),
            container: container.to_owned(),
        }
    }

    fn run(number: u32, end: BootTime) -> KeptRun {
        let mut writer = Writer::new(Vec::new(), &Header::default()).unwrap();
        let run = Run {
            number,
            end: Some(end),
            ..Run::default()
        };
        writer.begin_run(&run).unwrap();
        KeptRun::from_bytes(writer.finish().unwrap().0.into()).unwrap()
    }

    fn numbers(histories: &Histories, subject: &Subject) -> Vec<u32> {
        let runs = histories.runs(subject);
        runs.iter().map(|run| run.run.number).collect()
    }

    fn identity(name: &str, attempt: u32) -> Identity {
        Identity {
            id: "0123".to_owned(),
            name: name.to_owned(),
            kind: None,
            image: String::new(),
            image_id: String::new(),
            attempt,
            pod: Arc::default(),
        }
    }

    #[test]
    fn the_newest_runs_are_kept_in_their_order() {
        let mut histories = Histories::new(2, u64::MAX);
        let web = subject("web");
        for number in [1, 3, 2] {
            histories.keep(&web, run(number, BootTime(number.into())));
        }
        assert_eq!(numbers(&histories, &web), [2, 3]);
        assert_eq!(histories.room(&web), 0);
        assert_eq!(histories.room(&subject("db")), 2);
    }

    #[test]
    fn the_budget_takes_the_oldest_run_of_all() {
        let runs = || (1..4).map(|number| run(number, BootTime(u64::from(10 * number))));
        let budget = runs().map(|run| run.bytes().len() as u64).sum();
        let mut histories = Histories::new(9, budget);
        let (web, db) = (subject("web"), subject("db"));
        runs().for_each(|run| histories.keep(&web, run));
        histories.keep(&db, run(1, BootTime(5)));
        assert_eq!(histories.keep_to_budget(), budget);
        assert_eq!(numbers(&histories, &db), [0; 0]);
        assert_eq!(numbers(&histories, &web), [1, 2, 3]);
    }

    #[test]
    fn a_name_takes_the_runs_with_it_and_gives_them_their_number() {
        let mut histories = Histories::new(9, u64::MAX);
        let (before, web) = (subject("0123"), subject("web"));
        histories.keep(&web, run(3, BootTime(3)));
        histories.start(&before, BootTime(1), None);
        histories.begin_closing(&before);
        histories.keep(&before, run(1, BootTime(4)));
        assert!(histories.identify(&before, &web, identity("web", 3)));
        assert_eq!(numbers(&histories, &web), [3, 4]);
        assert!(histories.is_closing(&web) && !histories.is_closing(&before));
        assert!(!histories.identify(&before, &web, identity("web", 4)));
        // The number goes over to the next agent as well.
        let saved = histories.saved(|_| true);
        let mut next = Histories::new(9, u64::MAX);
        assert_eq!(next.restore(saved), std::slice::from_ref(&web));
        assert_eq!(numbers(&next, &web), [3, 4]);
    }

    #[test]
    fn what_runs_or_is_being_closed_outlives_its_pod() {
        let mut histories = Histories::new(9, u64::MAX);
        for name in ["web", "db", "gone"] {
            histories.start(&subject(name), BootTime(1), None);
        }
        histories.begin_closing(&subject("db"));
        histories.pod_gone("u1", |subject| subject.container == "web");
        let mut left: Vec<&Subject> = histories.subjects().collect();
        left.sort();
        assert_eq!(left, [&subject("db"), &subject("web")]);
    }
}
