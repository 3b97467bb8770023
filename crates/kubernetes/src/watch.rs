//! A watch that never ends: it lists, then follows, and starts again after every failure. What is trimmed away is
//! never kept.

use std::{collections::HashSet, fmt::Debug};

use futures::{StreamExt as _, stream, stream::BoxStream};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event},
    },
};
use serde::de::DeserializeOwned;

use crate::{Access, Error, Health};

/// After this many seconds without an event a watch is started anew, so that a connection that was cut silently is
/// noticed.
const WATCH_LIMIT: u32 = 120;
/// How many objects are read at once.
const PAGE: u32 = 100;

/// A change to the objects that are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<T> {
    /// Everything that exists has been reported. This comes again whenever the watch had to begin anew.
    Synced,
    /// The object is new or has changed. It may be reported although nothing changed.
    Changed(T),
    /// The object does not exist any more.
    Gone {
        /// Its UID.
        uid: String,
    },
}

/// The part of the program that watches, and the access that it needs.
pub(crate) struct Watch {
    pub(crate) who: &'static str,
    pub(crate) list: Access,
    pub(crate) watch: Access,
    /// Whether a list may come from an API server's cache, as the kubelet's does: that costs etcd nothing. The list may
    /// then be older than what was seen before; the watch that follows it repeats what has happened since.
    pub(crate) from_cache: bool,
    /// What is watched.
    pub(crate) which: Which,
}

/// Selects objects; without a selector, all of them.
#[derive(Default)]
pub(crate) struct Which {
    pub(crate) fields: Option<String>,
    pub(crate) labels: Option<String>,
}

impl Watch {
    /// Watches what is selected in `api`. `trim` converts each object to (UID, value).
    pub(crate) fn follow<K, T>(
        self,
        api: Api<K>,
        health: Health,
        trim: impl Fn(K) -> Option<(String, T)> + Send + 'static,
    ) -> BoxStream<'static, Change<T>>
    where
        K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
        T: Send + 'static,
    {
        let mut config = watcher::Config::default().timeout(WATCH_LIMIT);
        config.field_selector.clone_from(&self.which.fields);
        config.label_selector.clone_from(&self.which.labels);
        // The cache does not divide lists into pages.
        config.page_size = (!self.from_cache).then_some(PAGE);
        if self.from_cache {
            config = config.any_semantic();
        }
        let mut known = Known::default();
        watcher::watcher(api, config)
            .default_backoff()
            .flat_map(move |event| {
                let changes = match event {
                    Ok(event) => {
                        // `Init` comes before any request.
                        if !matches!(event, Event::Init) {
                            health.well(self.who);
                        }
                        known.changes(event, &trim)
                    }
                    Err(error) => {
                        health.ill(self.who, &self.error(error));
                        Vec::new()
                    }
                };
                stream::iter(changes)
            })
            .boxed()
    }

    fn error(&self, error: watcher::Error) -> Error {
        match error {
            watcher::Error::InitialListFailed(error) => Error::of(error, self.list),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                Error::of(error, self.watch)
            }
            watcher::Error::WatchError(status) => Error::answered(&status, self.watch),
            watcher::Error::NoResourceVersion => {
                Error::Invalid("a list without a resource version".to_owned())
            }
        }
    }
}

/// The UIDs that were reported. If an object disappears while the watch is interrupted, it is reported as gone
/// afterwards.
#[derive(Default)]
struct Known {
    told: HashSet<String>,
    /// Those that the list that is being read has not contained yet.
    missing: HashSet<String>,
}

impl Known {
    fn changes<K, T>(
        &mut self,
        event: Event<K>,
        trim: impl Fn(K) -> Option<(String, T)>,
    ) -> Vec<Change<T>> {
        match event {
            Event::Init => {
                self.missing.clone_from(&self.told);
                Vec::new()
            }
            Event::Apply(object) | Event::InitApply(object) => trim(object)
                .map(|(uid, rest)| {
                    self.missing.remove(&uid);
                    self.told.insert(uid);
                    Change::Changed(rest)
                })
                .into_iter()
                .collect(),
            Event::Delete(object) => trim(object)
                .map(|(uid, _)| {
                    self.told.remove(&uid);
                    Change::Gone { uid }
                })
                .into_iter()
                .collect(),
            Event::InitDone => {
                let gone = std::mem::take(&mut self.missing);
                self.told.retain(|uid| !gone.contains(uid));
                let gone = gone.into_iter().map(|uid| Change::Gone { uid });
                gone.chain([Change::Synced]).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Passes on events; the objects are UIDs.
    fn told(known: &mut Known, event: Event<&str>) -> Vec<Change<()>> {
        known.changes(event, |uid| Some((uid.to_owned(), ())))
    }

    fn gone(uid: &str) -> Change<()> {
        Change::Gone {
            uid: uid.to_owned(),
        }
    }

    #[test]
    fn what_vanished_while_nobody_watched_is_told_as_gone_before_synced() {
        let mut known = Known::default();
        for event in [Event::Init, Event::InitApply("a"), Event::InitApply("b")] {
            told(&mut known, event);
        }
        assert_eq!(told(&mut known, Event::InitDone), [Change::Synced]);
        assert_eq!(told(&mut known, Event::Apply("c")), [Change::Changed(())]);
        assert_eq!(told(&mut known, Event::Delete("b")), [gone("b")]);

        for event in [Event::Init, Event::InitApply("c")] {
            told(&mut known, event);
        }
        assert_eq!(
            told(&mut known, Event::InitDone),
            [gone("a"), Change::Synced]
        );
        told(&mut known, Event::Init);
        assert_eq!(
            told(&mut known, Event::InitDone),
            [gone("c"), Change::Synced]
        );
    }
}
