//! Every real capture of `tests/captures`, masked: verdicts must be what they were.

use std::io::Cursor;
use std::path::Path;

use capture_format::{Reader, Writer, open_file};
use inspect::explain::explain;
use redact::{Config, Manifest, Payload, Redactor};

#[test]
fn no_verdict_changes() {
    let redactor = Redactor::new(&Config::default()).unwrap();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/captures");
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
            let mut of_run = redactor.run(Payload::Default, &[]);
            redactor.run_metadata(&mut run, &mut manifest);
            let events = reader.events(index).map(|event| event.unwrap().event);
            let events = events.map(|mut event| {
                let size = (event.name.len(), event.data.len());
                of_run.event(&mut event, &mut manifest);
                assert_eq!((event.name.len(), event.data.len()), size);
                event
            });
            runs.push((run, events.collect::<Vec<_>>()));
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
