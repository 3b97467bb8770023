//! The life cycle of processes as events of sysdig: execve, clone, procexit, signals.

use capture_format::{Event, EventKind as K, ExitStatus, Tid};

use super::block::{MAX_LIST, Parameters};
use super::calls::Call;
use super::tables as t;
use events::basename;
use events::context::{Program, Seen};

/// SIGKILL ends a process without being delivered to it.
const SIGKILL: i64 = 9;
/// How many bytes of a command name the kernel keeps.
const COMM: usize = 15;

/// execve(2), whether it succeeded ([`K::EXEC`]) or failed. `cwd` is the working directory, if known.
pub(super) fn execve(seen: &Seen<'_>, cwd: &[u8], cgroups: &[u8]) -> Call {
    let (event, program) = (seen.event, &seen.program);
    let result = if event.kind == K::EXEC { 0 } else { event.ret };
    let (exe, args) = arguments(&event.data);
    // The path that could not be executed says more than the name that the program would have been given.
    let exe = if result < 0 || exe.is_empty() {
        &seen.path
    } else {
        exe
    };
    let name = if result < 0 {
        &program.name[..]
    } else {
        basename(&event.name)
    };
    let pid = i64::from(event.pid);
    let exit = Parameters::new()
        .i64(result)
        .text(exe)
        .bytes(args)
        .i64(pid)
        .i64(pid)
        .i64(parent(program))
        .text(cwd);
    let exit = resources(exit).text(comm(name)).bytes(cgroups);
    // Without environment and terminal; the process's own group; no login user.
    let exit = exit.bytes(&[]).u32(0).i64(pid).u32(u32::MAX).u32(0);
    let exit = exit.u64(0).u64(0).u64(0).u64(0).u64(0).u64(0);
    let exit = exit.u32(0).text(&seen.path).i64(pid).u32(0);
    Call::pair(t::EXECVE, Parameters::new().text(&seen.path), exit, 28)
}

/// A process or thread that is new to the reader. It is introduced in the way in which clone(2) returns in the child.
pub(super) struct Newborn<'p> {
    pub(super) pid: u32,
    pub(super) tid: Tid,
    /// The process id as the process itself sees it; `None` if unknown.
    pub(super) pid_inside: Option<i64>,
    /// The process that made it.
    pub(super) parent: i64,
    pub(super) program: &'p Program,
    pub(super) cwd: &'p [u8],
    pub(super) cgroups: &'p [u8],
}

impl Newborn<'_> {
    pub(super) fn clone(&self) -> Call {
        let (pid, tid) = (i64::from(self.pid), i64::from(self.tid.0));
        let is_thread = pid != tid;
        let (exe, args) = arguments(&self.program.args);
        let exe = if exe.is_empty() {
            &self.program.exe
        } else {
            exe
        };
        let exit = Parameters::new().i64(0).text(exe).bytes(args);
        let exit = exit.i64(tid).i64(pid).i64(self.parent).text(self.cwd);
        let name = comm(&self.program.name);
        let exit = resources(exit).text(name).bytes(self.cgroups);
        let flags = if is_thread {
            t::CLONE_THREAD | t::CLONE_FILES
        } else {
            0
        };
        let inside = self.pid_inside.filter(|&inside| inside > 0 && !is_thread);
        let (vtid, vpid) = inside.map_or((tid, pid), |inside| (inside, inside));
        let exit = exit.u32(flags | t::CHILD_IN_PIDNS).u32(0).u32(0);
        let exit = exit.i64(vtid).i64(vpid).u64(0);
        // The child sees only the end of the call.
        Call::alone(t::CLONE_EXIT, exit)
    }
}

/// The end of a process.
pub(super) fn ended(event: &Event) -> Call {
    let (code, signal, core) = match ExitStatus::from_wait(event.ret as i32) {
        ExitStatus::Code(code) => (i64::from(code), 0, false),
        ExitStatus::Signal { signal, core } => (0, signal, core),
    };
    let parameters = Parameters::new().i64(event.ret).i64(code);
    let parameters = parameters.u8(signal).u8(core.into()).i64(0);
    Call::alone(t::PROCESS_EXIT, parameters)
}

/// A signal that was delivered. SIGKILL is never delivered, so its sending is written instead; other sendings have no
/// event.
pub(super) fn signal(event: &Event) -> Option<Call> {
    let is_kill = event.ret == SIGKILL;
    let shown = match event.kind {
        K::SIGNAL_GENERATE => is_kill,
        _ => !is_kill,
    };
    let parameters = Parameters::new().i64(event.args[1]);
    let parameters = parameters.i64(event.pid.into()).u8(event.ret as u8);
    shown.then(|| Call::alone(t::SIGNAL, parameters))
}

pub(super) fn parent(program: &Program) -> i64 {
    program.parent.map_or(0, i64::from)
}

/// The first argument, and the others.
pub(super) fn arguments(args: &[u8]) -> (&[u8], &[u8]) {
    let end = args.iter().position(|&byte| byte == 0);
    let (first, rest) = match end {
        Some(end) => (&args[..end], &args[end + 1..]),
        None => (args, &[][..]),
    };
    (first, &rest[..rest.len().min(MAX_LIST)])
}

pub(super) fn comm(name: &[u8]) -> &[u8] {
    &name[..name.len().min(COMM)]
}

/// Limit of descriptors, page faults and memory, which are not recorded.
fn resources(parameters: Parameters) -> Parameters {
    let parameters = parameters.u64(0).u64(0).u64(0);
    parameters.u32(0).u32(0).u32(0)
}
