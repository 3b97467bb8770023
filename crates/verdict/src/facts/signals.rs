//! Signals that can end a process: who sent them, and what they did.

use bytes::Bytes;
use capture_format::{BootTime, Event, EventKind, SignalDisposition, SignalOrigin};

use super::Recent;
use events::decode::Signal;
use events::escape::escaped;
use events::own;

/// How many signals are kept.
const MAX_SIGNALS: usize = 512;
/// Signals that are ignored by default and sent all the time: SIGCHLD, SIGCONT, SIGURG (Go preempts with it), SIGWINCH.
const HARMLESS: [Signal; 4] = [Signal(17), Signal(18), Signal(23), Signal(28)];
/// The signals of one kill(2) to a process group follow each other within this time: 10 ms, in nanoseconds.
const AT_ONCE: u64 = 10_000_000;

/// `si_code` of signals that the kernel sends for a timer, a message queue or asynchronous I/O: SI_TIMER, SI_MESGQ,
/// SI_ASYNCIO, SI_SIGIO, SI_ASYNCNL (include/uapi/asm-generic/siginfo.h).
const OF_THE_KERNEL: [i64; 5] = [-2, -3, -4, -5, -60];

/// One signal that was sent.
#[derive(Clone, Debug)]
pub struct SentSignal {
    /// Event number.
    pub event: u64,
    /// CLOCK_BOOTTIME in nanoseconds.
    pub time: BootTime,
    /// The process that the signal was sent to.
    pub target: u32,
    /// The signal.
    pub signal: Signal,
    /// `si_code`.
    pub code: i64,
    /// The sending process; for a fault, the process that faulted.
    pub sender: u32,
    /// The sender's command name.
    pub sender_name: Bytes,
    /// Whether the sender belongs to the container.
    pub origin: Option<SignalOrigin>,
    /// For a fault: the address (`si_addr`).
    pub address: Option<u64>,
    /// What the process did with the signal when it was delivered, if seen.
    pub disposition: Option<SignalDisposition>,
}

impl SentSignal {
    /// The sender for people, escaped: `containerd-shim (pid 812)`, `the kernel`.
    #[must_use]
    pub fn sender(&self) -> String {
        if self.origin == Some(SignalOrigin::Kernel) {
            return "the kernel".to_owned();
        }
        match self.sender_name.is_empty() {
            true => format!("pid {}", self.sender),
            false => format!("{} (pid {})", escaped(&self.sender_name), self.sender),
        }
    }
}

/// The signals of a run.
#[derive(Debug)]
pub struct Signals(Recent<SentSignal>);

impl Default for Signals {
    fn default() -> Self {
        Self(Recent::new(MAX_SIGNALS))
    }
}

impl Signals {
    /// The signals, oldest first (the last 512).
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &SentSignal> {
        self.0.iter()
    }

    /// The last signal of this number that was sent to `target`.
    #[must_use]
    pub fn last(&self, target: u32, signal: Signal) -> Option<&SentSignal> {
        self.iter()
            .rev()
            .find(|sent| sent.target == target && sent.signal == signal)
    }

    /// The same signal that the same sender sent to another process at the same time: kill(2) of a process group.
    #[must_use]
    pub(crate) fn sent_with(&self, sent: &SentSignal) -> Option<&SentSignal> {
        let same = |other: &&SentSignal| {
            (other.sender, other.signal, other.code) == (sent.sender, sent.signal, sent.code)
                && other.target != sent.target
                && sent.time.0.abs_diff(other.time.0) <= AT_ONCE
        };
        self.iter().rev().find(same)
    }

    pub(super) fn observe(&mut self, number: u64, event: &Event) {
        let Some(signal) = Signal::from_ret(event.ret).filter(|signal| !HARMLESS.contains(signal))
        else {
            return;
        };
        if event.kind == EventKind::SIGNAL_GENERATE {
            self.0.push(SentSignal {
                event: number,
                time: event.time,
                target: event.pid,
                signal,
                code: event.args[0],
                sender: event.args[1] as u32,
                sender_name: own(&event.name),
                // lastword 0.1.0 recorded the process that was on the CPU as the sender of these signals.
                origin: match OF_THE_KERNEL.contains(&event.args[0]) {
                    true => Some(SignalOrigin::Kernel),
                    false => SignalOrigin::from_code(event.args[2]),
                },
                address: event
                    .data
                    .first_chunk::<8>()
                    .map(|bytes| u64::from_le_bytes(*bytes)),
                disposition: None,
            });
        } else {
            let sent = |sent: &&mut SentSignal| sent.target == event.pid && sent.signal == signal;
            if let Some(sent) = self.0.iter_mut().rev().find(sent) {
                sent.disposition = SignalDisposition::from_code(event.args[2]);
            }
        }
    }
}
