//! A container that may write to its cgroup file system: whatever cgroups it makes, others keep their place.

use std::collections::VecDeque;

use agent::recorder::{Budget, Recorder, Settings};
use libtest_mimic::Failed;

use crate::{
    Case,
    made::{ID, Made, alone, refill, top},
};

/// What no kernel does differently.
pub(crate) const ALIKE: &[Case] = &[
    ("a_crowd_of_nested_cgroups_keeps_nobody_out", nested),
    ("a_crowd_of_inner_containers_keeps_nobody_out", inner),
    ("no_detour_leads_around_the_caps", detours),
];

fn recorder() -> Result<Recorder, Failed> {
    let settings = Settings {
        budget: Budget::of_node(256 << 20),
        ..Settings::default()
    };
    Ok(Recorder::start(&settings)?)
}

/// Makes a container in another place than the attacker's.
fn container(top: &Made, number: usize) -> Result<Made, Failed> {
    Made::below(&top.0, &format!("docker-{number:064x}.scope"))
}

/// Makes 30 containers, all of which must be recorded.
fn honest(recorder: &mut Recorder, top: &Made) -> Result<(), Failed> {
    let mut made = Vec::new();
    for number in 0..30 {
        let one = container(top, number)?;
        let ring = recorder.ring_of(one.id()?);
        assert!(ring.is_some(), "container {number} is not recorded");
        let _ = recorder.messages();
        refill(recorder)?;
        made.push(one);
    }
    Ok(())
}

/// How many of these have a ring.
fn recorded(recorder: &Recorder, all: &[Made]) -> Result<usize, Failed> {
    let mut count = 0;
    for made in all {
        count += usize::from(recorder.ring_of(made.id()?).is_some());
    }
    Ok(count)
}

fn nested() -> Result<(), Failed> {
    let _alone = alone();
    let mut recorder = recorder()?;
    let top = top()?;
    let attacker = Made::below(&top.0, &format!("docker-{ID}.scope"))?;
    let crowd: Vec<Made> = (0..20_000)
        .map(|number| Made::below(&attacker.0, &number.to_string()))
        .collect::<Result<_, _>>()?;
    honest(&mut recorder, &top)?;
    assert_eq!(recorded(&recorder, &crowd)?, 64);
    Ok(())
}

fn inner() -> Result<(), Failed> {
    let _alone = alone();
    let mut recorder = recorder()?;
    let top = top()?;
    let attacker = Made::below(&top.0, &format!("docker-{ID}.scope"))?;
    let mut crowd = Vec::new();
    for number in 0..260 {
        crowd.push(container(&attacker, number)?);
        let _ = recorder.messages();
        refill(&mut recorder)?;
    }
    honest(&mut recorder, &top)?;
    assert_eq!(recorded(&recorder, &crowd)?, 4);
    Ok(())
}

/// Container-shaped cgroups in a cgroup that found no place, in one far down, in one inside an inner container, and in
/// a container that is not recorded itself.
fn detours() -> Result<(), Failed> {
    let _alone = alone();
    let mut recorder = recorder()?;
    let top = top()?;
    let attacker = Made::below(&top.0, &format!("docker-{ID}.scope"))?;
    let crowd: Vec<Made> = (0..70)
        .map(|number| Made::below(&attacker.0, &number.to_string()))
        .collect::<Result<_, _>>()?;
    let outside = crowd.last().ok_or("no cgroup")?;
    // They are removed in this order.
    let mut deep = VecDeque::from([Made::below(&attacker.0, "deep")?]);
    for _ in 0..40 {
        let last = deep.front().ok_or("no cgroup")?;
        deep.push_front(Made::below(&last.0, "x")?);
    }
    let deepest = deep.front().ok_or("no cgroup")?;
    let mut shaped = Vec::new();
    for number in 0..10 {
        shaped.push(container(outside, number)?);
        shaped.push(container(deepest, number)?);
    }
    let first = shaped.first().ok_or("no cgroup")?;
    let within: Vec<Made> = (0..10)
        .map(|number| container(first, number))
        .collect::<Result<_, _>>()?;
    assert_eq!(
        recorded(&recorder, &shaped)? + recorded(&recorder, &within)?,
        4
    );
    drop(within);
    // A container of which nothing may be recorded, or for which there is no ring.
    let unrecorded = container(&top, 1000)?;
    recorder.release(recorder.ring_of(unrecorded.id()?).ok_or("no ring")?);
    let within: Vec<Made> = (0..10)
        .map(|number| container(&unrecorded, number))
        .collect::<Result<_, _>>()?;
    assert_eq!(recorded(&recorder, &within)?, 0);
    honest(&mut recorder, &top)
}
