//! Signals by number: name, default action and what `si_code` says about their origin (signal(7), sigaction(2)).
//!
//! The numbers are those of `include/uapi/asm-generic/signal.h`, which x86_64 and aarch64 share.

use std::fmt;

/// A signal number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signal(pub u8);

impl Signal {
    /// Hangup.
    pub const HUP: Self = Self(1);
    /// Interrupt from the keyboard.
    pub const INT: Self = Self(2);
    /// Quit from the keyboard.
    pub const QUIT: Self = Self(3);
    /// Illegal instruction.
    pub const ILL: Self = Self(4);
    /// Trace or breakpoint trap.
    pub const TRAP: Self = Self(5);
    /// Abort.
    pub const ABRT: Self = Self(6);
    /// Bus error.
    pub const BUS: Self = Self(7);
    /// Arithmetic exception.
    pub const FPE: Self = Self(8);
    /// Kill.
    pub const KILL: Self = Self(9);
    /// Invalid memory reference.
    pub const SEGV: Self = Self(11);
    /// Broken pipe: write to a pipe or socket without readers.
    pub const PIPE: Self = Self(13);
    /// Alarm clock.
    pub const ALRM: Self = Self(14);
    /// Termination.
    pub const TERM: Self = Self(15);
    /// CPU time limit exceeded.
    pub const XCPU: Self = Self(24);
    /// File size limit exceeded.
    pub const XFSZ: Self = Self(25);
    /// Virtual alarm clock.
    pub const VTALRM: Self = Self(26);
    /// Profiling timer.
    pub const PROF: Self = Self(27);
    /// Bad system call.
    pub(crate) const SYS: Self = Self(31);
    /// I/O is possible.
    pub const IO: Self = Self(29);

    /// The signal in `ret` of a signal event, if it is a valid number.
    #[must_use]
    pub fn from_ret(ret: i64) -> Option<Self> {
        (1..=64).contains(&ret).then_some(Self(ret as u8))
    }

    /// What happened according to the signal, such as `segmentation fault`; `None` if the name already says it.
    #[must_use]
    pub fn meaning(self) -> Option<&'static str> {
        Some(match self {
            Self::HUP => "hangup",
            Self::INT => "interrupt",
            Self::QUIT => "quit",
            Self::ILL => "illegal instruction",
            Self::TRAP => "breakpoint trap",
            Self::ABRT => "abort",
            Self::BUS => "bus error",
            Self::FPE => "arithmetic exception",
            Self::SEGV => "segmentation fault",
            Self::PIPE => "broken pipe",
            Self::ALRM => "alarm clock",
            Self::XCPU => "CPU time limit exceeded",
            Self::XFSZ => "file size limit exceeded",
            Self::SYS => "bad system call",
            _ => return None,
        })
    }

    /// Whether the kernel sends it to a thread because of an instruction that the thread executed.
    #[must_use]
    pub fn is_fault(self) -> bool {
        matches!(
            self,
            Self::SEGV | Self::BUS | Self::ILL | Self::FPE | Self::TRAP | Self::SYS
        )
    }

    /// Whether it asks a process to end: runtimes, kubelet and people stop processes by such signals.
    #[must_use]
    pub fn asks_to_end(self) -> bool {
        matches!(
            self,
            Self::HUP | Self::INT | Self::QUIT | Self::KILL | Self::TERM
        )
    }

    /// Name and meaning of `si_code` for this signal; `None` if it is unknown.
    #[must_use]
    pub fn code(self, si_code: i64) -> Option<(&'static str, &'static str)> {
        Some(match (self, si_code) {
            (_, 0) => ("SI_USER", "sent by kill"),
            (Self::SEGV, 0x80) => (
                "SI_KERNEL",
                "a privileged instruction, or an address that no memory can have",
            ),
            (_, 0x80) => ("SI_KERNEL", "sent by the kernel"),
            (_, -1) => ("SI_QUEUE", "sent by sigqueue"),
            (_, -2) => ("SI_TIMER", "a POSIX timer expired"),
            (_, -3) => ("SI_MESGQ", "a message queue changed"),
            (_, -4) => ("SI_ASYNCIO", "asynchronous I/O completed"),
            (_, -5) => ("SI_SIGIO", "queued SIGIO"),
            (_, -60) => ("SI_ASYNCNL", "an asynchronous look-up of a name ended"),
            (_, -6) => ("SI_TKILL", "sent by tgkill, as abort and raise do"),
            (Self::SEGV, 1) => ("SEGV_MAPERR", "address not mapped"),
            (Self::SEGV, 2) => ("SEGV_ACCERR", "mapped, but access not permitted"),
            (Self::SEGV, 3) => ("SEGV_BNDERR", "failed bound check"),
            (Self::SEGV, 4) => ("SEGV_PKUERR", "denied by a protection key"),
            (Self::BUS, 1) => ("BUS_ADRALN", "misaligned address"),
            (Self::BUS, 2) => (
                "BUS_ADRERR",
                "address without memory behind it, such as past the end of a mapped file",
            ),
            (Self::BUS, 3) => ("BUS_OBJERR", "hardware error"),
            (Self::BUS, 4 | 5) => ("BUS_MCEERR", "memory error of the hardware"),
            (Self::ILL, 1) => ("ILL_ILLOPC", "illegal opcode"),
            (Self::ILL, 2) => ("ILL_ILLOPN", "illegal operand"),
            (Self::ILL, 3) => ("ILL_ILLADR", "illegal addressing mode"),
            (Self::ILL, 4) => ("ILL_ILLTRP", "illegal trap"),
            (Self::ILL, 5) => ("ILL_PRVOPC", "privileged opcode"),
            (Self::FPE, 1) => ("FPE_INTDIV", "integer division by zero"),
            (Self::FPE, 2) => ("FPE_INTOVF", "integer overflow"),
            (Self::FPE, 3) => ("FPE_FLTDIV", "floating-point division by zero"),
            (Self::FPE, 4) => ("FPE_FLTOVF", "floating-point overflow"),
            (Self::FPE, 5) => ("FPE_FLTUND", "floating-point underflow"),
            (Self::FPE, 6) => ("FPE_FLTRES", "floating-point inexact result"),
            (Self::FPE, 7) => ("FPE_FLTINV", "invalid floating-point operation"),
            (Self::TRAP, 1) => ("TRAP_BRKPT", "breakpoint"),
            (Self::TRAP, 2) => ("TRAP_TRACE", "trace trap"),
            (Self::SYS, 1) => ("SYS_SECCOMP", "refused by seccomp"),
            (Self(17), 1) => ("CLD_EXITED", "child exited"),
            (Self(17), 2) => ("CLD_KILLED", "child was killed"),
            (Self(17), 3) => ("CLD_DUMPED", "child was killed and dumped core"),
            (Self(17), 4) => ("CLD_TRAPPED", "traced child trapped"),
            (Self(17), 5) => ("CLD_STOPPED", "child stopped"),
            (Self(17), 6) => ("CLD_CONTINUED", "child continued"),
            _ => return None,
        })
    }
}

/// The symbol, such as `SIGSEGV`, `SIGRTMIN+1` (kernel numbering: 32 is the first), or `signal 99`.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (NAMES.get(usize::from(self.0)), self.0) {
            (Some(name), 1..) => write!(f, "SIG{name}"),
            (_, 32) => f.write_str("SIGRTMIN"),
            (_, number @ 33..=64) => write!(f, "SIGRTMIN+{}", number - 32),
            (_, number) => write!(f, "signal {number}"),
        }
    }
}

#[rustfmt::skip]
const NAMES: [&str; 32] = [
    "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM", "TERM",
    "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_their_linux_names() {
        let names: Vec<_> = [1, 7, 9, 15, 17, 31, 32, 34, 64, 65, 0]
            .map(|n| Signal(n).to_string())
            .into();
        assert_eq!(
            names,
            [
                "SIGHUP",
                "SIGBUS",
                "SIGKILL",
                "SIGTERM",
                "SIGCHLD",
                "SIGSYS",
                "SIGRTMIN",
                "SIGRTMIN+2",
                "SIGRTMIN+32",
                "signal 65",
                "signal 0"
            ]
        );
    }

    #[test]
    fn a_code_is_read_in_the_light_of_its_signal() {
        assert_eq!(
            Signal::SEGV.code(1),
            Some(("SEGV_MAPERR", "address not mapped"))
        );
        assert_eq!(Signal::FPE.code(1).map(|c| c.0), Some("FPE_INTDIV"));
        assert_eq!(Signal::TERM.code(0).map(|c| c.0), Some("SI_USER"));
        assert_eq!(Signal::TERM.code(1), None);
    }
}
