//! The threads that read the capture.

use std::io::{Read, Seek};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;

use capture_format::Reader;

use crate::app::{Ask, Message};
use crate::digest;
use crate::pager::{self, Pager};
use crate::shared::Shared;

/// The channels to the threads that read.
pub(crate) struct Threads {
    pager: Sender<pager::Ask>,
    digest: Sender<digest::Ask>,
}

impl Threads {
    /// Starts the threads; answers go to `to`.
    pub(crate) fn start<R: Read + Seek + Send + 'static>(
        reader: Reader<R>,
        to: &Sender<Message>,
    ) -> Self {
        let reader = reader.map_source(Shared::new);
        let (pager, asked) = channel();
        let (other, answers) = (reader.clone(), to.clone());
        spawn(to, move || page(Pager::new(other), &asked, &answers));
        let (digest, asked) = channel();
        let answers = to.clone();
        spawn(to, move || digest_each(reader, &asked, &answers));
        Self { pager, digest }
    }

    /// Passes a request on.
    pub(crate) fn ask(&self, ask: Ask) {
        // A thread that has died has reported that itself.
        let _ = match ask {
            Ask::Pager(ask) => self.pager.send(ask).map_err(drop),
            Ask::Digest(ask) => self.digest.send(ask).map_err(drop),
        };
    }
}

/// Reports when its thread panics.
struct Alarm(Sender<Message>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(Message::Died);
        }
    }
}

fn spawn(to: &Sender<Message>, work: impl FnOnce() + Send + 'static) {
    let alarm = Alarm(to.clone());
    thread::spawn(move || {
        let _alarm = alarm;
        work();
    });
}

/// Works in slices, so that a new request is noticed soon.
fn page<R: Read + Seek>(mut pager: Pager<R>, asked: &Receiver<pager::Ask>, to: &Sender<Message>) {
    loop {
        let ask = if pager.is_idle() {
            asked.recv().map_err(|_| TryRecvError::Disconnected)
        } else {
            asked.try_recv()
        };
        match ask {
            Ok(ask) => pager.take(ask),
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => pager.slice(&mut |answer| {
                let _ = to.send(Message::Pager(answer));
            }),
        }
    }
}

fn digest_each<R: Read + Seek>(
    mut reader: Reader<R>,
    asked: &Receiver<digest::Ask>,
    to: &Sender<Message>,
) {
    while let Ok(ask) = asked.recv() {
        let answer = digest::answer(&mut reader, ask);
        if to.send(Message::Digest(answer)).is_err() {
            return;
        }
    }
}
