//! A Perfetto trace, for ui.perfetto.dev and `trace_processor`.
//!
//! A run is a track with one slice. A process is a track with a slice for each program that it executed. A thread is a
//! track with its events. Events are slices of length zero, because it is not recorded when a call began.

use std::collections::HashMap;
use std::io::{self, Read, Seek, Write};

use capture_format::{BootTime, Event, EventKind as K, Host, Reader, Run, RunIndex, Tid};

use self::schema::{
    Annotation, BOOTTIME, Clock, ClockSnapshot, Kind, Process, REALTIME, STATE_CLEARED, Thread,
    TracePacket, TrackDescriptor, TrackEvent,
};
use super::name::{kind_name, process_name};
use super::{Sink, tell, time_of_day};
use crate::select::Selection;
use crate::show::text;
use events::context::{Context, Seen};
use events::decode::Errno;
use events::escape::{escaped, escaped_to};
use verdict::explain::{Explanation, explain};

mod schema;

/// How many tracks may be open at once. If more are needed, all of them end and begin anew.
const MAX_TRACKS: usize = 1 << 16;
/// How many bytes of a payload are written as an argument of a slice.
const MAX_DATA: usize = 4096;
/// How many arguments of a program are written into its track's description.
const MAX_ARGUMENTS: usize = 64;
/// All packets come from one writer.
const SEQUENCE: u32 = 1;
/// Times are signed numbers in Perfetto.
const MAX_TIME: u64 = i64::MAX as u64;

/// Writes the selected events as a Perfetto trace.
///
/// # Errors
/// When `out` fails. Damage to the capture is an event on the run's track.
pub fn write<R: Read + Seek>(
    reader: &mut Reader<R>,
    select: &Selection,
    out: &mut impl Write,
) -> io::Result<()> {
    let explanation = explain(reader);
    let start = reader
        .runs()
        .first()
        .map_or(BootTime::default(), |run| run.start);
    let mut trace = Trace {
        host: reader.header().host.clone(),
        explanation,
        now: BootTime::default(),
        tracks: 0,
        run: 0,
        processes: HashMap::new(),
        open: 0,
        out,
    };
    trace.clocks(start)?;
    tell(reader, select, &mut trace)
}

struct Trace<W> {
    host: Host,
    explanation: Explanation,
    /// Time of the last event.
    now: BootTime,
    /// How many tracks were made; the number of the last one is its uuid.
    tracks: u64,
    /// The run's track.
    run: u64,
    processes: HashMap<u32, Tracks>,
    /// How many tracks are open, of all processes and their threads.
    open: usize,
    out: W,
}

/// The tracks of a process.
struct Tracks {
    process: u64,
    threads: HashMap<Tid, u64>,
}

impl<W: Write> Sink for Trace<W> {
    fn begin_run(&mut self, run: &Run) -> io::Result<()> {
        let name = format!("run {}", run.number);
        self.now = run.start;
        self.run = self.track(TrackDescriptor {
            name: Some(name.clone()),
            ..TrackDescriptor::default()
        })?;
        self.slice(self.run, Kind::Begin, Some(name), "run", Vec::new())
    }

    fn event(&mut self, seen: &Seen<'_>, _context: &Context) -> io::Result<()> {
        let event = seen.event;
        self.now = event.time;
        self.program(seen)?;
        let thread = self.thread(seen)?;
        let name = Some(kind_name(event.kind).into_owned());
        let annotations = annotations(seen, &self.host);
        self.slice(thread, Kind::Instant, name, category(event), annotations)?;
        match event.kind {
            K::EXIT => self.end(event.pid),
            K::FORK => self.forked(seen),
            _ => Ok(()),
        }
    }

    fn missing(&mut self, damage: &str) -> io::Result<()> {
        let annotations = vec![of_text("damage", damage.to_owned())];
        let name = Some("damage".to_owned());
        self.slice(self.run, Kind::Instant, name, "run", annotations)
    }

    fn end_run(&mut self, index: RunIndex, run: &Run) -> io::Result<()> {
        self.end_all()?;
        self.now = run.end.unwrap_or(self.now);
        if let Some(verdict) = self.explanation.runs.get(index.0) {
            let sentence = verdict.verdict.sentence.clone();
            let annotations = vec![of_text("sentence", sentence)];
            let name = Some("verdict".to_owned());
            self.slice(self.run, Kind::Instant, name, "run", annotations)?;
        }
        self.slice(self.run, Kind::End, None, "run", Vec::new())
    }
}

impl<W: Write> Trace<W> {
    /// Writes which time of day belongs to the events' time since boot.
    fn clocks(&mut self, time: BootTime) -> io::Result<()> {
        let clock = |id, time: u64| Clock {
            clock_id: Some(id),
            timestamp: Some(time.min(MAX_TIME)),
        };
        let clocks = vec![
            clock(BOOTTIME, time.0),
            clock(REALTIME, time_of_day(time, &self.host).0),
        ];
        self.now = time;
        self.packet(TracePacket {
            clock_snapshot: Some(ClockSnapshot { clocks }),
            sequence_flags: Some(STATE_CLEARED),
            ..TracePacket::default()
        })
    }

    /// Begins a slice for the program of the event's process, if the program is new.
    fn program(&mut self, seen: &Seen<'_>) -> io::Result<()> {
        let pid = seen.event.pid;
        match self.processes.get(&pid).map(|tracks| tracks.process) {
            Some(track) if seen.event.kind == K::EXEC => {
                self.slice(track, Kind::End, None, "process", Vec::new())?;
                self.describe(track, pid, seen)?;
                self.begin(track, seen)
            }
            Some(_) => Ok(()),
            None => self.process(pid, seen),
        }
    }

    fn process(&mut self, pid: u32, seen: &Seen<'_>) -> io::Result<()> {
        if self.open >= MAX_TRACKS {
            self.end_all()?;
        }
        self.tracks += 1;
        let track = self.tracks;
        self.describe(track, pid, seen)?;
        self.open += 1;
        let tracks = Tracks {
            process: track,
            threads: HashMap::new(),
        };
        self.processes.insert(pid, tracks);
        self.begin(track, seen)
    }

    /// Writes which process a track belongs to, and what that process executes.
    fn describe(&mut self, track: u64, pid: u32, seen: &Seen<'_>) -> io::Result<()> {
        let args = seen.program.args.split_inclusive(|&byte| byte == 0);
        let args = args.map(|arg| arg.strip_suffix(b"\0").unwrap_or(arg));
        let cmdline = args
            .take(MAX_ARGUMENTS)
            .map(|arg| escaped_to(arg, MAX_DATA).to_string());
        let process = Process {
            pid: i32::try_from(pid).ok(),
            cmdline: cmdline.collect(),
            process_name: Some(process_name(seen)),
        };
        self.packet(TracePacket {
            track_descriptor: Some(TrackDescriptor {
                uuid: Some(track),
                process: Some(process),
                ..TrackDescriptor::default()
            }),
            ..TracePacket::default()
        })
    }

    fn begin(&mut self, track: u64, seen: &Seen<'_>) -> io::Result<()> {
        let mut annotations = vec![of_uint("event", seen.number)];
        if !seen.program.exe.is_empty() {
            annotations.push(of_text("exe", escaped(&seen.program.exe).to_string()));
        }
        let name = Some(process_name(seen));
        self.slice(track, Kind::Begin, name, "process", annotations)
    }

    /// Begins the track of a child when it is forked.
    fn forked(&mut self, seen: &Seen<'_>) -> io::Result<()> {
        let Ok(child) = u32::try_from(seen.event.ret) else {
            return Ok(());
        };
        self.end(child)?;
        self.process(child, seen)
    }

    /// The track of an event's thread.
    fn thread(&mut self, seen: &Seen<'_>) -> io::Result<u64> {
        let (pid, tid) = (seen.event.pid, seen.event.tid);
        let tracks = self.processes.get(&pid);
        if let Some(&track) = tracks.and_then(|tracks| tracks.threads.get(&tid)) {
            return Ok(track);
        }
        if self.open >= MAX_TRACKS {
            self.end_all()?;
            self.process(pid, seen)?;
        }
        let thread = Thread {
            pid: i32::try_from(pid).ok(),
            tid: i32::try_from(tid.0).ok(),
            thread_name: Some(process_name(seen)),
        };
        let parent_uuid = self.processes.get(&pid).map(|tracks| tracks.process);
        let track = self.track(TrackDescriptor {
            parent_uuid,
            thread: Some(thread),
            ..TrackDescriptor::default()
        })?;
        self.open += 1;
        if let Some(tracks) = self.processes.get_mut(&pid) {
            tracks.threads.insert(tid, track);
        }
        Ok(track)
    }

    fn end(&mut self, pid: u32) -> io::Result<()> {
        let Some(tracks) = self.processes.remove(&pid) else {
            return Ok(());
        };
        self.open -= 1 + tracks.threads.len();
        self.slice(tracks.process, Kind::End, None, "process", Vec::new())
    }

    fn end_all(&mut self) -> io::Result<()> {
        let mut pids: Vec<u32> = self.processes.keys().copied().collect();
        pids.sort_unstable();
        pids.into_iter().try_for_each(|pid| self.end(pid))
    }

    /// Makes a track and returns its uuid.
    fn track(&mut self, descriptor: TrackDescriptor) -> io::Result<u64> {
        self.tracks += 1;
        self.packet(TracePacket {
            track_descriptor: Some(TrackDescriptor {
                uuid: Some(self.tracks),
                ..descriptor
            }),
            ..TracePacket::default()
        })?;
        Ok(self.tracks)
    }

    fn slice(
        &mut self,
        track: u64,
        kind: Kind,
        name: Option<String>,
        category: &str,
        debug_annotations: Vec<Annotation>,
    ) -> io::Result<()> {
        let categories = match kind {
            Kind::End => Vec::new(),
            Kind::Begin | Kind::Instant => vec![category.to_owned()],
        };
        self.packet(TracePacket {
            track_event: Some(TrackEvent {
                debug_annotations,
                kind: Some(kind as i32),
                track_uuid: Some(track),
                categories,
                name,
            }),
            ..TracePacket::default()
        })
    }

    fn packet(&mut self, packet: TracePacket) -> io::Result<()> {
        /// The field `packet` of `Trace`.
        const PACKET: u32 = 1;
        let packet = TracePacket {
            timestamp: Some(self.now.0.min(MAX_TIME)),
            trusted_packet_sequence_id: Some(SEQUENCE),
            ..packet
        };
        let mut bytes = Vec::new();
        prost::encoding::message::encode(PACKET, &packet, &mut bytes);
        self.out.write_all(&bytes)
    }
}

fn category(event: &Event) -> &'static str {
    match event.kind.is_syscall() {
        true if event.ret < 0 => "failed",
        true => "call",
        false => "process",
    }
}

fn annotations(seen: &Seen<'_>, host: &Host) -> Vec<Annotation> {
    let event = seen.event;
    let mut all = vec![
        of_uint("event", seen.number),
        of_text("call", text::call(seen, host)),
    ];
    if event.kind.is_syscall() {
        all.push(Annotation {
            name: Some("ret".to_owned()),
            int: Some(event.ret),
            ..Annotation::default()
        });
        all.extend(Errno::from_ret(event.ret).map(|errno| of_text("errno", errno.to_string())));
    }
    let payload = !event.kind.has_numbers();
    if payload && !event.data.is_empty() {
        let data = escaped_to(&event.data, MAX_DATA).to_string();
        all.push(of_text("data", data));
    }
    all
}

fn of_text(name: &str, text: String) -> Annotation {
    Annotation {
        name: Some(name.to_owned()),
        text: Some(text),
        ..Annotation::default()
    }
}

fn of_uint(name: &str, value: u64) -> Annotation {
    Annotation {
        name: Some(name.to_owned()),
        uint: Some(value),
        ..Annotation::default()
    }
}
