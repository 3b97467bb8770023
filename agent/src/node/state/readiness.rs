//! Containers that run and are not ready. Nothing happens when a readiness probe keeps failing, so only time shows
//! it.

use std::collections::HashMap;

use kubernetes::{
    Timestamp,
    pods::{ContainerInfo, ContainerState},
};
use triggers::{Subject, Time};

use super::super::clock::Clock;

/// Containers that are not ready.
#[derive(Debug, Default)]
pub(crate) struct Unready(HashMap<Subject, Since>);

#[derive(Debug)]
struct Since {
    /// When the run started, as the API server reports it.
    start: Timestamp,
    /// From this time on the container is not ready because its probe failed.
    due: Time,
    told: bool,
}

impl Unready {
    /// The API server reports a container.
    pub(crate) fn see(&mut self, clock: Clock, subject: &Subject, container: &ContainerInfo) {
        let since = match &container.state {
            ContainerState::Running { since } => *since,
            _ => None,
        };
        let (Some(start), Some(after)) = (since, container.unready_after) else {
            self.0.remove(subject);
            return;
        };
        let known = self.0.get(subject);
        if known.is_none_or(|known| known.start != start) {
            let (due, told) = (clock.of_api(start) + after, false);
            self.0.insert(subject.clone(), Since { start, due, told });
        }
    }

    /// Containers whose readiness probe has failed by now. Each is returned once, until it was ready again.
    pub(crate) fn due(&mut self, now: Time) -> Vec<Subject> {
        let failed = self
            .0
            .iter_mut()
            .filter(|(_, since)| since.due <= now && !since.told);
        failed
            .map(|(subject, since)| {
                since.told = true;
                subject.clone()
            })
            .collect()
    }

    /// A pod is gone.
    pub(crate) fn forget(&mut self, pod_uid: &str) {
        self.0.retain(|subject, _| subject.pod_uid != pod_uid);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kubernetes::pods::ContainerKind;

    use super::*;

    fn container(start: i64, after: Option<u64>) -> ContainerInfo {
        ContainerInfo {
            kind: ContainerKind::App,
            name: "web".to_owned(),
            image: String::new(),
            image_id: String::new(),
            id: None,
            restart_count: 0,
            state: ContainerState::Running {
                since: Timestamp::from_second(start).ok(),
            },
            unready_after: after.map(Duration::from_secs),
            last: None,
            secret_mounts: Vec::new(),
        }
    }

    #[test]
    fn a_failed_probe_is_told_once_until_the_container_was_ready_or_started_anew() {
        let at = |second: u64| Time(second * 1_000_000_000);
        let web = Subject {
            pod_uid: "u1".to_owned(),
            container: "web".to_owned(),
        };
        let clock = Clock::start();
        let mut unready = Unready::default();
        unready.see(clock, &web, &container(100, Some(30)));
        assert_eq!(unready.due(at(129)), []);
        assert_eq!(unready.due(at(130)).len(), 1);
        unready.see(clock, &web, &container(100, Some(30)));
        assert_eq!(unready.due(at(140)), []);
        unready.see(clock, &web, &container(100, None));
        unready.see(clock, &web, &container(100, Some(30)));
        assert_eq!(unready.due(at(150)).len(), 1);
        unready.see(clock, &web, &container(160, Some(30)));
        assert_eq!(unready.due(at(170)), []);
        unready.forget("u1");
        assert_eq!(unready.due(at(200)), []);
    }
}
