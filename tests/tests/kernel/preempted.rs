//! What is lost where tracepoint programs can be preempted: the probes that lose nothing there and the probes of older
//! kernels, side by side.

use agent::recorder::{Recorder, RingId, Settings};
use capture_format::{Event, EventKind as K};
use libtest_mimic::Failed;

use crate::{
    Case,
    made::{Made, alone, refill, start, top},
    support::victim,
};

pub(crate) const CASES: &[Case] = &[(
    "what_is_lost_to_preemption_is_counted_as_skipped",
    what_is_lost,
)];

/// The probes of processes' lives, and the events that they record.
const PROBES: [(&str, K); 3] = [
    ("sched_process_exec", K::EXEC),
    ("sched_process_fork", K::FORK),
    ("sched_process_exit", K::EXIT),
];
const ROUNDS: u64 = 4;
/// Processes at the same time, each of which starts [`EACH`] others: in one round, as many as fit into the lane Life.
const WORKERS: u64 = 8;
const EACH: u64 = 20;

/// A recorder that takes tracepoint programs for preemptible, or does not, and how many events of each probe it has
/// recorded.
struct Observer {
    recorder: Recorder,
    recorded: [u64; 3],
}

impl Observer {
    fn start(preemptible: bool) -> Result<Self, Failed> {
        let recorder = Recorder::start_as_if(preemptible, &Settings::default())?;
        Ok(Self {
            recorder,
            recorded: [0; 3],
        })
    }

    fn ring(&self, container: &Made) -> Result<RingId, Failed> {
        Ok(self.recorder.ring_of(container.id()?).ok_or("no ring")?)
    }

    /// Counts what the victims in a container have done, and releases its ring.
    fn count(&mut self, container: &Made) -> Result<(), Failed> {
        let ring = self.ring(container)?;
        let recording = self.recorder.read(ring)?;
        for (sum, (_, kind)) in self.recorded.iter_mut().zip(PROBES) {
            let fits = |event: &&Event| event.kind == kind && event.name.ends_with(b"victim");
            *sum += recording.events.iter().filter(fits).count() as u64;
        }
        self.recorder.release(ring);
        refill(&mut self.recorder)
    }
}

/// More processes than there are processors start and end others. The kernel's count of skips includes processes and
/// threads of every container.
fn what_is_lost() -> Result<(), Failed> {
    let _alone = alone();
    let mut observers = [Observer::start(true)?, Observer::start(false)?];
    let before = observers.each_ref().map(|it| it.recorder.misses());
    let top = top()?;
    for round in 0..ROUNDS {
        let made = Made::below(&top.0, &format!("docker-{round:064x}.scope"))?;
        let victim = victim();
        let script = format!("exec {} processes {WORKERS} {EACH}", victim.display());
        let output = start(&made, &script)?.wait_with_output()?;
        assert!(output.status.success(), "{output:?}");
        for observer in &mut observers {
            observer.count(&made)?;
        }
    }
    let started = ROUNDS * (WORKERS * (1 + EACH));
    for (observer, before) in observers.iter().zip(before) {
        let skipped = observer.recorder.misses().since(&before);
        for ((probe, kind), recorded) in PROBES.into_iter().zip(observer.recorded) {
            // When the first victim of a round was started, it was a shell.
            let there = if kind == K::FORK {
                started
            } else {
                started + ROUNDS
            };
            let skipped = skipped.get(probe).copied().unwrap_or_default();
            let attached = observer.recorder.probes().find(|it| it.name == probe);
            let attach = &attached.ok_or("no such probe")?.attach;
            println!("{probe} by {attach}: {recorded} of {there} recorded, {skipped} skipped");
            assert!(
                recorded <= there && recorded + skipped >= there,
                "{probe}: {recorded} recorded and {skipped} skipped of {there}"
            );
        }
    }
    Ok(())
}
