//! `lastword status`: what recording would look like on this machine.

use std::io::{self, Write};

use crate::recorder::{Recorder, Settings};

/// Attaches the probes for a moment and says how it went.
pub(crate) fn status(out: &mut impl Write) -> anyhow::Result<()> {
    let recorder = Recorder::start(&Settings::default())?;
    print(&recorder, out)?;
    Ok(())
}

fn print(recorder: &Recorder, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:<20} {:<8} WHY", "PROBE", "ATTACH")?;
    for probe in recorder.probes() {
        writeln!(
            out,
            "{:<20} {:<8} {}",
            probe.name, probe.attach, probe.reason
        )?;
    }
    for limitation in recorder.limitations() {
        writeln!(out, "limited: {limitation}")?;
    }
    Ok(())
}
