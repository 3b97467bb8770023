//! Capture objects: claimed if their pod is here, and filled; and what follows when one is deleted.

use std::cmp::Reverse;

use capture_format::{BootTime, ExitStatus, Trigger};
use kubernetes::{
    capture::CaptureSpec,
    captures::{self, Notice, Offer},
    pods::ContainerKind,
};
use triggers::{Observation, Subject};

use super::super::{
    event_loop::Node,
    handle::Target,
    order::{Asked, NOBODY, OFF, REQUESTED, Wanted},
    state::outside::{ClaimAnswered, subject_of},
    tasks::Input,
};

/// Why a Capture object failed, in one word.
pub(super) const OPTED_OUT: &str = "OptedOut";
const NOTHING_RECORDED: &str = "NothingRecorded";

/// How likely it is that a container of a pod is meant where none is named; in this order.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    /// It is not one that somebody added for debugging, or it is named.
    is_asked: bool,
    /// When it crashed; none if its newest run did not.
    crashed: Option<BootTime>,
    lives: bool,
    is_app: bool,
    /// Its place in the specification.
    place: Reverse<Option<usize>>,
}

impl Node {
    /// The watch of the cluster's Capture objects reports something.
    pub(crate) fn noticed(&mut self, notice: Notice) {
        match notice {
            Notice::Offered(offer) => self.offered(offer),
            Notice::Listed(there) => {
                if let Some(work) = self.outside.announce_missing(&there) {
                    self.tasks.spawn_blocking(work);
                }
            }
            Notice::Deleted { namespace, name } => self.deleted(&namespace, &name),
        }
    }

    /// Whoever deleted a Capture object is done with it: the file is removed, and the next crash of the container
    /// counts as new.
    fn deleted(&mut self, namespace: &str, name: &str) {
        let Some(entry) = self.outside.capture_of(namespace, name) else {
            return;
        };
        self.loops.capture_gone(&entry.id);
        let at = self.clock.now();
        let gone = Observation::CaptureDeleted {
            id: entry.id.clone(),
        };
        let decisions = self.orders.observe(at, &subject_of(&entry), gone);
        self.decide(decisions);
        if let Some(settling) = self.outside.settle_deletion(entry) {
            self.tasks
                .bring(async { Input::DeletionSettled(settling.await) });
        }
    }

    /// A Capture object waits for an agent: for this one, if its pod is here.
    fn offered(&mut self, offer: Offer) {
        let spec = &offer.spec;
        let is_here = self
            .pods
            .is_here(&offer.namespace, &spec.pod_name, spec.pod_uid.as_ref());
        let key = || (offer.namespace.clone(), offer.name.clone());
        if self.outside.announces(&offer) || !is_here || !self.orders.begin_claim(key()) {
            return;
        }
        if let Some(claiming) = self.outside.claim(offer) {
            self.tasks
                .bring(async { Input::ClaimAnswered(Box::new(claiming.await)) });
        }
    }

    /// A Capture object is this agent's to fill, or another's.
    pub(crate) fn claim_answered(&mut self, ClaimAnswered { key, claim }: ClaimAnswered) {
        let Some(claim) = claim else {
            self.orders.end_claim(&key);
            return;
        };
        let offer = &claim.offer;
        match self.meant(offer) {
            Ok(subject) => {
                let trigger = Trigger {
                    kind: offer.spec.trigger.kind.clone(),
                    detail: offer.spec.trigger.detail.clone().unwrap_or_default(),
                };
                let wanted = Wanted {
                    name: offer.name.clone(),
                    trigger,
                    rank: REQUESTED,
                };
                self.read_live_run(subject, Asked::Object(Box::new(claim)), wanted);
            }
            Err((reason, message)) => {
                self.orders.end_claim(&key);
                self.fail(claim, reason, message);
            }
        }
    }

    /// Which container a Capture object means: the one it names, or else the one that crashed last, or else the first.
    ///
    /// # Errors
    /// There is none: the reason, in one word, and a message for people.
    fn meant(&self, offer: &Offer) -> Result<Subject, (&'static str, String)> {
        let CaptureSpec {
            pod_name,
            container,
            ..
        } = &offer.spec;
        let target = Target::Pod {
            namespace: offer.namespace.clone(),
            name: pod_name.clone(),
            container: container.clone(),
        };
        let mut found = self.matching(&target);
        if let Some(id) = &offer.spec.container_id {
            found.retain(|subject| {
                let identity = self.histories.identity(subject);
                identity.is_some_and(|identity| identity.id == *id)
            });
        }
        let known: Vec<_> = self
            .pods
            .containers_of(&offer.namespace, pod_name)
            .collect();
        let worth = |subject: &Subject| {
            let place = known.iter().position(|(known, _)| known == subject);
            let kind = place.map(|place| known[place].1);
            let newest = self.histories.newest(subject);
            let failed = newest.filter(|kept| kept.run.status != Some(ExitStatus::Code(0)));
            Worth {
                is_asked: container.is_some() || kind != Some(ContainerKind::Ephemeral),
                crashed: failed.and_then(|kept| kept.run.end),
                lives: self.lives.running(subject).is_some(),
                is_app: kind == Some(ContainerKind::App),
                place: Reverse(place),
            }
        };
        let best = found.into_iter().max_by_key(worth);
        let off = known.iter().find(|(subject, _)| {
            let meant = container
                .as_ref()
                .is_none_or(|only| *only == subject.container);
            meant && self.orders.is_off(subject)
        });
        best.ok_or_else(|| match (off, container) {
            (Some((subject, _)), _) => (
                OPTED_OUT,
                format!(
                    "container {} of pod {pod_name} is not captured: {OFF}",
                    subject.container
                ),
            ),
            (None, Some(container)) => (
                NOTHING_RECORDED,
                format!("pod {pod_name} has no container {container} that is recorded: {NOBODY}"),
            ),
            (None, None) => (NOTHING_RECORDED, format!("pod {pod_name}: {NOBODY}")),
        })
    }

    /// Says in a Capture object that there will be no file.
    pub(crate) fn fail(&mut self, claim: captures::Claim, reason: &'static str, message: String) {
        if let Some(saying) = self.outside.fail(claim, reason, message) {
            self.tasks.spawn(saying);
        }
    }
}
