//! Writing a capture: kept runs, and what is known about their pod, in one file with a verdict.

use std::{io::Cursor, path::Path, sync::Arc};

use capture_format::{Header, Reader, Run, Writer, chain};
use redact::{Manifest, Redactor};
use spool::{Info, New, Owner, Spool, SpoolError};
use verdict::explain::{Explanation, explain};

use super::{
    closing::{Around, Clients, identify},
    kept::KeptRun,
    order::{CaptureWritten, Order},
};

/// About how many bytes a header takes.
const HEADER_BYTES: u64 = 16 << 10;

impl Clients {
    /// Writes a capture.
    ///
    /// # Errors
    /// The spool's.
    pub(super) async fn capture(
        self,
        mut order: Order,
        spool: Arc<Spool>,
    ) -> anyhow::Result<CaptureWritten> {
        let around = match order.around.take_if(|around| around.is_fresh()) {
            Some(around) => around,
            None => self.around(order.identity.as_ref()).await,
        };
        tokio::task::spawn_blocking(move || write(&order, around, &spool, &self.redactor)).await?
    }
}

fn write(
    order: &Order,
    Around { pod, events, .. }: Around,
    spool: &Spool,
    redactor: &Redactor,
) -> anyhow::Result<CaptureWritten> {
    let Some(last) = order.runs.last() else {
        anyhow::bail!("there is no run to capture");
    };
    let earlier = earlier(order, spool);
    let runs = || earlier.iter().chain(order.runs.iter().map(AsRef::as_ref));
    let mut header = last.header()?;
    header.created = crate::host::realtime();
    header.trigger = order.trigger.clone();
    let mut manifest = Manifest::default();
    if let Some(identity) = &order.identity {
        identify(&mut header, identity);
        // If the API server does not answer, what was known when the run ended remains.
        let known = header.kubernetes.get_or_insert_default();
        if !pod.is_null() {
            known.pod = pod;
        }
        if !events.is_empty() {
            known.events = events;
        }
        if let Some(specified) = known.container(&identity.name) {
            header.container.resources = specified.resources();
            header.container.command = specified.command().map(str::to_owned).collect();
        }
    }
    let owner = owner(&header);
    redactor.header(&mut header, &mut manifest);
    for run in runs() {
        manifest.add(&run.header()?.redaction);
    }
    header.redaction = manifest.redaction();

    let new = New {
        name: &order.name,
        requested: order.requested,
        header: &header,
        rank: order.rank,
        pinned: false,
        expected_bytes: HEADER_BYTES + runs().map(|run| run.bytes().len() as u64).sum::<u64>(),
    };
    let mut explanation = None;
    let written = spool.write(
        &new,
        |writer| runs().try_for_each(|run| run.write_to(writer)),
        |path, info| {
            info.namespace_uid.clone_from(&order.namespace_uid);
            match explained(path, info) {
                Ok(said) => explanation = Some(said),
                Err(error) => {
                    tracing::error!(error = %chain(&*error), path = %path.display(), "a capture cannot be read back")
                }
            }
            info.owner.clone_from(&owner);
        },
    );
    let written = match written {
        Ok(written) => written,
        Err(error) => return unwritten(&new, owner.as_ref(), runs(), spool, error),
    };
    let explanation = explanation.ok_or_else(|| {
        anyhow::anyhow!(
            "the capture {} was written and cannot be read back",
            written.entry.id
        )
    })?;
    Ok(CaptureWritten {
        entry: written.entry,
        explanation,
        unwritten: None,
    })
}

/// Explains a capture that cannot be written, so that its verdict can be announced.
///
/// # Errors
/// The spool's, if the spool has another capture of that name.
fn unwritten<'a>(
    new: &New,
    owner: Option<&Owner>,
    runs: impl Iterator<Item = &'a KeptRun> + Clone,
    spool: &Spool,
    error: SpoolError,
) -> anyhow::Result<CaptureWritten> {
    let mut writer = Writer::new(Vec::new(), new.header)?;
    runs.clone().try_for_each(|run| run.write_to(&mut writer))?;
    let (bytes, _) = writer.finish()?;
    let explanation = explain(&mut Reader::open(Cursor::new(bytes))?);
    let runs: Vec<Run> = runs.map(|run| run.run.clone()).collect();
    let noted = spool.note(new, &error, &runs, |info| {
        note(&explanation, info);
        info.owner = owner.cloned();
    });
    let Some(entry) = noted else {
        return Err(error.into());
    };
    Ok(CaptureWritten {
        entry,
        explanation,
        unwritten: Some(chain(&error).to_string()),
    })
}

/// The runs of the capture that is replaced, if this agent has none of them: as many as there is room for.
fn earlier(order: &Order, spool: &Spool) -> Vec<KeptRun> {
    let (Some(replaced), Some(first)) = (&order.replaces, order.runs.first()) else {
        return Vec::new();
    };
    let Some(path) = spool.path(&replaced.id) else {
        return Vec::new();
    };
    match KeptRun::newest_of(&path, replaced.room) {
        Ok(earlier) if earlier.iter().all(|run| run.run.number < first.run.number) => earlier,
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::warn!(error = %chain(&*error), path = %path.display(), "the runs of a capture that is replaced cannot be taken over");
            Vec::new()
        }
    }
}

/// Explains the file on the disk, and notes the verdict and whose pod it is.
///
/// # Errors
/// The file is no capture.
pub(super) fn explained(path: &Path, info: &mut Info) -> anyhow::Result<Explanation> {
    let mut capture = capture_format::open_file(path)?;
    info.owner = owner(capture.header());
    let said = explain(&mut capture);
    note(&said, info);
    Ok(said)
}

/// Whose pod it is, as far as the pod's object is known.
fn owner(header: &Header) -> Option<Owner> {
    let owner = kubernetes::owner::Owner::of(&header.kubernetes.as_ref()?.pod)?;
    Some(Owner {
        api_version: owner.api_version,
        kind: owner.kind,
        name: owner.name,
        uid: owner.uid,
    })
}

fn note(said: &Explanation, info: &mut Info) {
    info.verdict = Some(said.sentence.clone());
    let last = said.runs.last();
    info.cause = last.map(|run| run.verdict.cause.name());
    info.fingerprint = last.map(|run| run.fingerprint.to_string());
    info.confidence = last.map(|run| run.verdict.confidence);
    let leads = last.iter().flat_map(|run| &run.leads);
    info.leads = leads.map(ToString::to_string).collect();
}
