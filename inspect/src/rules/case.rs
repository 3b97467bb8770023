//! One run as the rules look at it: its facts, who ended it, and what was said last.

use capture_format::{ExitStatus, Losses, Run};

use super::Evidence;
use super::words::{LastWords, Words};
use crate::decode::Signal;
use crate::decode::time::duration;
use crate::facts::process::Exit;
use crate::facts::{Facts, Process};

/// How long before the end, or before the last words, something still counts as right before it: 5 s, in nanoseconds.
pub(super) const CLOSE: u64 = 5_000_000_000;

/// A run and what every rule needs of it.
#[derive(Debug)]
pub struct Case<'a> {
    /// The run.
    pub run: &'a Run,
    /// Its facts.
    pub facts: &'a Facts,
    /// From the first process down to the one whose end was handed on to it: see [`Facts::chain`].
    pub chain: Vec<&'a Process>,
    /// What the processes of the chain printed last.
    pub words: LastWords<'a>,
}

impl<'a> Case<'a> {
    /// Looks at a run.
    #[must_use]
    pub fn new(facts: &'a Facts, run: &'a Run) -> Self {
        let chain = facts.chain();
        let mut words = LastWords::of(&chain);
        if words.is_empty() {
            // A first process that said nothing: what those it started said right before the end.
            let end = chain
                .last()
                .and_then(|culprit| culprit.exit)
                .map_or(u64::MAX, |exit| exit.time);
            let all: Vec<&Process> = facts.processes.iter().collect();
            words = LastWords::of(&all);
            words.only_since(end.saturating_sub(CLOSE));
        }
        Self {
            run,
            facts,
            chain,
            words,
        }
    }

    /// The process that ended the run: the last of the chain.
    #[must_use]
    pub fn culprit(&self) -> Option<&'a Process> {
        self.chain.last().copied()
    }

    /// Whether a process belongs to the chain.
    #[must_use]
    pub fn in_chain(&self, pid: u32) -> bool {
        self.chain.iter().any(|process| process.pid == pid)
    }

    /// Whether a process belongs to the chain or was started by a process that does, at whatever remove.
    #[must_use]
    pub fn below_chain(&self, pid: u32) -> bool {
        let mut pid = pid;
        for _ in 0..64 {
            if self.in_chain(pid) {
                return true;
            }
            match self
                .facts
                .processes
                .get(pid)
                .and_then(|process| process.parent)
            {
                Some(parent) => pid = parent,
                None => return false,
            }
        }
        false
    }

    /// How the culprit ended. Of the first process the run's own status is the truth; it was waited for.
    #[must_use]
    pub fn status(&self) -> Option<ExitStatus> {
        match self.chain[..] {
            [] => self.run.status,
            [init] => self.run.status.or(init.exit.map(|exit| exit.status)),
            [.., culprit] => culprit.exit.map(|exit| exit.status),
        }
    }

    /// Its exit code, if it exited.
    #[must_use]
    pub fn exit_code(&self) -> Option<u8> {
        match self.status()? {
            ExitStatus::Code(code) => Some(code),
            ExitStatus::Signal { .. } => None,
        }
    }

    /// The signal that killed it, if one did.
    #[must_use]
    pub fn signal(&self) -> Option<Signal> {
        match self.status()? {
            ExitStatus::Signal { signal, .. } => Some(Signal(signal)),
            ExitStatus::Code(_) => None,
        }
    }

    /// When it ended: CLOCK_BOOTTIME in nanoseconds.
    #[must_use]
    pub fn end(&self) -> Option<u64> {
        self.exit().map(|exit| exit.time).or(self.run.end)
    }

    /// The culprit's exit, where recorded.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.culprit()?.exit
    }

    /// Name of the culprit: `nginx`, `python3 (started by sh)`.
    #[must_use]
    pub fn name(&self) -> String {
        match self.chain[..] {
            [] => "the command".to_owned(),
            [init] => init.name(),
            [init, .., culprit] if init.name() == culprit.name() => culprit.name(),
            [init, .., culprit] => format!("{} (started by {})", culprit.name(), init.name()),
        }
    }

    /// `nginx exited 1, 41 ms after start`.
    #[must_use]
    pub fn ended(&self) -> String {
        let how = match self.status() {
            Some(status) => how(status),
            None if self.run.end.is_some() => "ended, nobody saw how".to_owned(),
            None => "was still running when the capture was taken".to_owned(),
        };
        format!("{} {how}{}", self.name(), self.after_start())
    }

    /// `, 41 ms after start`; nothing where the end is not known.
    #[must_use]
    pub fn after_start(&self) -> String {
        let lived = self.end().and_then(|end| end.checked_sub(self.run.start));
        lived.map_or_else(String::new, |lived| {
            format!(", {} after start", duration(lived))
        })
    }

    /// The ends of the chain's processes.
    #[must_use]
    pub fn exit_evidence(&self) -> Vec<Evidence> {
        let exit = |process: &&Process| {
            let exit = process.exit?;
            Some(Evidence::new(
                exit.event,
                format!(
                    "{} (pid {}) {}",
                    process.name(),
                    process.pid,
                    how(exit.status)
                ),
            ))
        };
        self.chain.iter().filter_map(exit).collect()
    }

    /// The headline of the last words as evidence.
    #[must_use]
    pub fn words_evidence(&self) -> Vec<Evidence> {
        self.words
            .headline()
            .map(Words::evidence)
            .into_iter()
            .collect()
    }

    /// What the capture says it lacks, in words: whatever rests on something *not* having happened is weakened by it.
    #[must_use]
    pub fn missing_events(&self) -> Vec<String> {
        let Losses {
            lost,
            overwritten,
            torn,
            compat,
            unreadable,
            recursion_misses,
        } = self.run.losses;
        let mut texts = Vec::new();
        if lost > 0 || overwritten > 0 {
            texts.push(format!(
                "{lost} events lost (never recorded), {overwritten} overwritten by newer ones"
            ));
        }
        let others = [
            (torn, "events damaged in the ring"),
            (compat, "calls in the 32-bit ABI, which are not decoded"),
            (unreadable, "payloads that could not be read"),
            (
                recursion_misses,
                "probe runs the kernel skipped on this node",
            ),
        ];
        texts.extend(
            others
                .into_iter()
                .filter(|&(count, _)| count > 0)
                .map(|(count, what)| format!("{count} {what}")),
        );
        texts
    }
}

/// `exited 1`, `was killed by SIGSEGV (segmentation fault)`.
fn how(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("exited {code}"),
        ExitStatus::Signal { signal, .. } => {
            let signal = Signal(signal);
            match signal.meaning() {
                Some(meaning) => format!("was killed by {signal} ({meaning})"),
                None => format!("was killed by {signal}"),
            }
        }
    }
}
