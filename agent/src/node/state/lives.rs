//! Containers that are recorded, by the id of their cgroup, and those that would be if they were not opted out.

use std::collections::{HashMap, HashSet};

use capture_format::{BootTime, CgroupId};
use triggers::Subject;

/// A container that is recorded, or whose run is being closed.
pub(crate) struct Live {
    /// The container's id.
    pub(crate) id: String,
    pub(crate) subject: Subject,
    /// Number of its run.
    pub(crate) run: u32,
    /// When the run started.
    pub(crate) started: BootTime,
    /// Whether its names are known.
    pub(crate) named: bool,
    /// The run is over, and not closed yet.
    closing: bool,
    /// The cgroup is gone.
    removed: bool,
    /// Cgroups inside it are not recorded, and that is still to be reported.
    turns_away: bool,
}

impl Live {
    /// Whether its run is over.
    fn is_over(&self) -> bool {
        self.closing || self.removed
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Lives {
    live: HashMap<CgroupId, Live>,
    /// The ids of the newest containers that run and are opted out.
    off: HashMap<Subject, String>,
}

impl Lives {
    /// A container is recorded from now on.
    pub(crate) fn start(
        &mut self,
        cgroup: CgroupId,
        id: String,
        subject: Subject,
        run: u32,
        time: BootTime,
    ) {
        let live = Live {
            id,
            subject,
            run,
            started: time,
            named: false,
            closing: false,
            removed: false,
            turns_away: false,
        };
        self.live.insert(cgroup, live);
    }

    pub(crate) fn get(&self, cgroup: CgroupId) -> Option<&Live> {
        self.live.get(&cgroup)
    }

    /// Who it is has become known.
    pub(crate) fn name(&mut self, cgroup: CgroupId, subject: &Subject, run: u32) {
        if let Some(live) = self.live.get_mut(&cgroup) {
            (live.subject, live.run, live.named) = (subject.clone(), run, true);
        }
    }

    /// Cgroups inside it are not recorded.
    pub(crate) fn turns_away(&mut self, cgroup: CgroupId) {
        if let Some(live) = self.live.get_mut(&cgroup) {
            live.turns_away = true;
        }
    }

    /// The container, if it is to be reported now that cgroups inside it are not recorded. In a pod it is reported by its
    /// name.
    pub(crate) fn take_turning_away(&mut self, cgroup: CgroupId) -> Option<&Live> {
        let live = self.live.get_mut(&cgroup)?;
        let is_due = live.turns_away && (live.named || live.subject.pod_uid.is_empty());
        live.turns_away &= !is_due;
        is_due.then_some(live)
    }

    /// Its run is over, and is being closed.
    pub(crate) fn begin_closing(&mut self, cgroup: CgroupId) -> Option<&Live> {
        let live = self.live.get_mut(&cgroup)?;
        live.closing = true;
        Some(live)
    }

    /// Its run is closed. Returns whose it was, and its number, which may have come with the name meanwhile; none if the
    /// container was opted out meanwhile.
    pub(crate) fn end_closing(&mut self, cgroup: CgroupId) -> Option<(Subject, u32)> {
        let live = self.live.get_mut(&cgroup)?;
        live.closing = false;
        let whose = (live.subject.clone(), live.run);
        self.forget_if_over(cgroup);
        Some(whose)
    }

    /// Its cgroup is gone.
    pub(crate) fn cgroup_removed(&mut self, cgroup: CgroupId) {
        if let Some(live) = self.live.get_mut(&cgroup) {
            live.removed = true;
            self.forget_if_over(cgroup);
        }
    }

    fn forget_if_over(&mut self, cgroup: CgroupId) {
        let over = |live: &Live| live.removed && !live.closing;
        if self.live.get(&cgroup).is_some_and(over) {
            self.live.remove(&cgroup);
        }
    }

    /// It lives on, and is not recorded any more.
    pub(crate) fn give_up(&mut self, cgroup: CgroupId) -> Option<Live> {
        self.live.remove(&cgroup)
    }

    /// A container is opted out. Returns its cgroups that are recorded.
    pub(crate) fn opt_out(&mut self, subject: &Subject) -> Vec<CgroupId> {
        let of_subject = self.live.extract_if(|_, live| live.subject == *subject);
        let mut cgroups = Vec::new();
        for (cgroup, live) in of_subject {
            self.off.insert(subject.clone(), live.id);
            cgroups.push(cgroup);
        }
        cgroups
    }

    /// A container is not opted out any more.
    pub(crate) fn opt_in(&mut self, subject: &Subject) {
        self.off.remove(subject);
    }

    /// A pod is gone.
    pub(crate) fn pod_gone(&mut self, pod_uid: &str) {
        self.off.retain(|subject, _| subject.pod_uid != pod_uid);
    }

    /// Recorded containers that have no names yet.
    pub(crate) fn unnamed(&self) -> Vec<CgroupId> {
        let unnamed = self.live.iter().filter(|(_, live)| !live.named);
        unnamed.map(|(cgroup, _)| *cgroup).collect()
    }

    /// Those that are recorded, with the ids of their cgroups.
    pub(crate) fn with_cgroups(&self) -> impl Iterator<Item = (CgroupId, &Live)> {
        self.live.iter().map(|(cgroup, live)| (*cgroup, live))
    }

    /// Those that are recorded.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Live> {
        self.live.values()
    }

    /// The subjects of those that are recorded.
    pub(crate) fn subjects(&self) -> HashSet<Subject> {
        self.all().map(|live| live.subject.clone()).collect()
    }

    /// The run that a container is in, with the id of its cgroup.
    pub(crate) fn running(&self, subject: &Subject) -> Option<(CgroupId, &Live)> {
        self.live
            .iter()
            .find(|(_, live)| live.subject == *subject && !live.is_over())
            .map(|(cgroup, live)| (*cgroup, live))
    }

    /// Containers that run and are opted out, with their ids.
    pub(crate) fn off(&self) -> impl Iterator<Item = (&Subject, &String)> {
        self.off.iter()
    }

    /// The id of a container that runs and is opted out.
    pub(crate) fn off_id(&self, subject: &Subject) -> Option<&String> {
        self.off.get(subject)
    }

    /// How many are recorded, and how many of them have names.
    pub(crate) fn count(&self) -> (usize, usize) {
        let named = self.all().filter(|live| live.named).count();
        (self.live.len(), named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CGROUP: CgroupId = CgroupId(7);

    fn subject(container: &str) -> Subject {
        Subject {
            pod_uid: "u1".to_owned(),
            container: container.to_owned(),
        }
    }

    fn started() -> Lives {
        let mut lives = Lives::default();
        lives.start(CGROUP, "0123".to_owned(), subject("0123"), 1, BootTime(5));
        lives
    }

    #[test]
    fn a_container_is_known_until_its_run_is_closed_and_its_cgroup_is_gone() {
        for cgroup_first in [true, false] {
            let mut lives = started();
            assert!(lives.running(&subject("0123")).is_some());
            lives.begin_closing(CGROUP);
            assert!(lives.running(&subject("0123")).is_none());
            if cgroup_first {
                lives.cgroup_removed(CGROUP);
                assert!(lives.get(CGROUP).is_some());
                assert_eq!(lives.end_closing(CGROUP), Some((subject("0123"), 1)));
            } else {
                assert_eq!(lives.end_closing(CGROUP), Some((subject("0123"), 1)));
                assert!(lives.get(CGROUP).is_some());
                lives.cgroup_removed(CGROUP);
            }
            assert!(lives.get(CGROUP).is_none());
        }
    }

    #[test]
    fn a_name_is_given_once_and_moves_the_container_to_its_subject() {
        let mut lives = started();
        assert_eq!(lives.unnamed(), [CGROUP]);
        lives.name(CGROUP, &subject("web"), 4);
        assert_eq!(lives.unnamed(), []);
        assert_eq!(lives.count(), (1, 1));
        let (cgroup, live) = lives.running(&subject("web")).unwrap();
        assert_eq!((cgroup, live.run), (CGROUP, 4));
    }

    #[test]
    fn a_run_that_is_closed_has_the_number_that_came_with_the_name() {
        let mut lives = started();
        lives.begin_closing(CGROUP);
        lives.name(CGROUP, &subject("web"), 4);
        assert_eq!(lives.end_closing(CGROUP), Some((subject("web"), 4)));
    }

    #[test]
    fn that_cgroups_are_not_recorded_is_reported_once_and_by_name() {
        let mut lives = started();
        lives.turns_away(CGROUP);
        assert!(lives.take_turning_away(CGROUP).is_none());
        lives.name(CGROUP, &subject("web"), 1);
        let container = |live: &Live| live.subject.container.clone();
        assert_eq!(
            lives.take_turning_away(CGROUP).map(container),
            Some("web".to_owned())
        );
        assert!(lives.take_turning_away(CGROUP).is_none());
    }

    #[test]
    fn what_is_opted_out_is_not_recorded_and_its_run_is_nobodys() {
        let mut lives = started();
        lives.name(CGROUP, &subject("web"), 1);
        lives.begin_closing(CGROUP);
        assert_eq!(lives.opt_out(&subject("web")), [CGROUP]);
        assert_eq!(lives.off_id(&subject("web")).unwrap(), "0123");
        assert_eq!(lives.end_closing(CGROUP), None);
        lives.opt_in(&subject("web"));
        assert_eq!(lives.off().count(), 0);
    }
}
