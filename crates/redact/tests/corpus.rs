//! Every real capture of `tests/captures`, masked: the verdicts must stay the same.

use std::io::Cursor;
use std::path::Path;

use capture_format::{Event, Reader, RunIndex, Writer, open_file};
use redact::{Config, Manifest, Payload, Redactor};
use verdict::explain::explain;

#[test]
fn no_verdict_changes() {
    let redactor = Redactor::new(&Config::default()).unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/captures");
    let mut captures = 0;
    for entry in directory.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_none_or(|extension| extension != "lwcap")
        {
            continue;
        }
        captures += 1;
        let mut reader = open_file(&path).unwrap();
        let mut manifest = Manifest::default();
        let mut header = reader.header().clone();
        let mut runs = Vec::new();
        for (index, mut run) in reader.runs().to_vec().into_iter().enumerate() {
            redactor.run_metadata(&mut run, &mut manifest);
            let events = reader
                .events(RunIndex(index))
                .map(|event| event.unwrap().event);
            let mut events: Vec<Event> = events.collect();
            let sizes = |events: &[Event]| {
                events
                    .iter()
                    .map(|event| (event.name.len(), event.data.len()))
                    .collect::<Vec<_>>()
            };
            let before = sizes(&events);
            redactor.run(&mut events, Payload::Default, &[], &mut manifest);
            assert_eq!(sizes(&events), before);
            runs.push((run, events));
        }
        redactor.header(&mut header, &mut manifest);
        let mut writer = Writer::new(Vec::new(), &header).unwrap();
        for (run, events) in &runs {
            writer.begin_run(run).unwrap();
            events.iter().for_each(|event| writer.event(event).unwrap());
            writer.end_run().unwrap();
        }
        let (bytes, _) = writer.finish().unwrap();
        let masked = explain(&mut Reader::open(Cursor::new(bytes)).unwrap());
        assert_eq!(
            masked,
            explain(&mut reader),
            "{}: {manifest:?}",
            path.display()
        );
        println!("{}: {:?}", path.display(), manifest.redaction().masked);
    }
    assert!(captures >= 20, "{captures} captures");
}
