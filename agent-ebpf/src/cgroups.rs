//! Which ring an event belongs to: the table from cgroup id to ring, and the programs that maintain the table.

use agent_ebpf::wire::{
    CGROUP_WAYS, CLAIMED, CgroupSet, Control, ID_DIGITS, INNER_MOST, LANES, LEVELS, NAME_MAX,
    NESTED, NESTED_MOST, NO_SHAPE, RINGS as RING_COUNT, Ring, SHAPES, cgroup_set, control,
};
use aya_ebpf::{
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_probe_read_kernel_str},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use aya_log_ebpf::{debug, warn};
use core::intrinsics::{
    AtomicOrdering::{AcqRel, Acquire, Relaxed},
    atomic_cxchg, atomic_xadd,
};

use crate::{
    kernel::{current_cgroup, key_zero, opaque, read},
    maps::{
        CGROUPS, CONTAINER_SHAPES, CONTROL, CONTROL_LOST, MKDIR_SCRATCH, POOL, RINGS, config,
        leased_until, offset,
    },
};

/// The current task's ring and its number, if it is in a recorded container.
#[inline(always)]
pub fn current_ring() -> Option<(u32, *mut Ring)> {
    let number = ring_number(current_cgroup())? & !NESTED;
    Some((number, ring(number)?))
}

/// The ring of a cgroup.
#[inline(always)]
pub fn ring_of(cgroup: u64) -> Option<*mut Ring> {
    ring(ring_number(cgroup)? & !NESTED)
}

/// The number of a cgroup's ring, with the NESTED bit.
#[inline(always)]
pub fn ring_number(cgroup: u64) -> Option<u32> {
    let set = set_of(cgroup)?;
    let mut way = 0;
    while way < CGROUP_WAYS {
        // SAFETY: the verifier checks the access; volatile, since others change the table.
        unsafe {
            if core::ptr::read_volatile(&raw const (*set).ids[way]) == cgroup {
                return Some(core::ptr::read_volatile(&raw const (*set).rings[way]));
            }
        }
        way += 1;
    }
    None
}

#[inline(always)]
fn set_of(cgroup: u64) -> Option<*mut CgroupSet> {
    CGROUPS.get_ptr_mut(cgroup_set(cgroup, config!(key)) as u32)
}

/// A ring by its number.
#[inline(always)]
pub fn ring(number: u32) -> Option<*mut Ring> {
    RINGS.get_value_ptr_mut(number, &key_zero())
}

/// Enters a cgroup into the table; false when its set is full.
#[inline(always)]
fn insert(cgroup: u64, ring: u32) -> bool {
    let Some(set) = set_of(cgroup) else {
        return false;
    };
    let mut way = 0;
    while way < CGROUP_WAYS {
        // SAFETY: the verifier checks the accesses. The place is claimed first, so that nobody finds the id without its ring.
        unsafe {
            let id = &raw mut (*set).ids[way];
            if atomic_cxchg::<u64, { AcqRel }, { Acquire }>(id, 0, CLAIMED).1 {
                core::ptr::write_volatile(&raw mut (*set).rings[way], ring);
                core::intrinsics::atomic_xchg::<u64, { AcqRel }>(id, cgroup);
                return true;
            }
        }
        way += 1;
    }
    false
}

/// Takes a cgroup out of the table.
#[inline(always)]
fn remove(cgroup: u64) {
    let Some(set) = set_of(cgroup) else { return };
    let mut way = 0;
    while way < CGROUP_WAYS {
        // SAFETY: as above.
        unsafe {
            let id = &raw mut (*set).ids[way];
            atomic_cxchg::<u64, { AcqRel }, { Acquire }>(id, cgroup, 0);
        }
        way += 1;
    }
}

/// No agent has put the lease off for long: what the current cgroup does is not recorded from now on. So the programs
/// stop by themselves, each cgroup at its first record. The container's next reader learns that something is missing. On
/// its own for the verifier, and because it is never called while an agent lives.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn lapse_apart() -> u64 {
    let cgroup = current_cgroup();
    let Some(number) = ring_number(cgroup) else {
        return 0;
    };
    remove(cgroup);
    if let Some(ring) = ring(number & !NESTED) {
        // SAFETY: the verifier checks the access.
        unsafe { atomic_xadd::<u64, u64, { Relaxed }>(&raw mut (*ring).turned_away, 1) };
    }
    0
}

/// Whether programs that outlive their agent have stopped.
#[inline(always)]
fn is_lapsed() -> bool {
    // SAFETY: no preconditions.
    unsafe { bpf_ktime_get_boot_ns() > leased_until() }
}

#[inline(always)]
fn message(kind: u32, ring: u32, cgroup: u64, value: u64) -> Control {
    Control {
        kind,
        ring,
        cgroup,
        value,
        // SAFETY: no preconditions.
        time: unsafe { bpf_ktime_get_boot_ns() },
    }
}

/// Tells user space.
#[inline(always)]
pub fn tell(kind: u32, ring: u32, cgroup: u64, value: u64) {
    if CONTROL
        .output(message(kind, ring, cgroup, value), 0)
        .is_err()
    {
        count_lost();
    }
}

#[inline(always)]
fn count_lost() {
    if let Some(lost) = CONTROL_LOST.get_ptr_mut(key_zero()) {
        // SAFETY: the verifier checks the access.
        unsafe { atomic_xadd::<u64, u64, { Relaxed }>(lost, 1) };
    }
}

/// A cgroup that was just made, with its path in kernel memory.
#[derive(Clone, Copy)]
struct New {
    id: u64,
    path: u64,
}

impl New {
    /// Tells user space what became of it.
    #[inline(always)]
    fn tell(self, kind: u32, ring: u32, value: u64) {
        let Some(scratch) = MKDIR_SCRATCH.get_ptr_mut(key_zero()) else {
            return;
        };
        // SAFETY: the verifier checks destination, source and length.
        let told = unsafe {
            let whole = &raw mut (*scratch).message;
            (*whole).control = message(kind, ring, self.id, value);
            let read = bpf_probe_read_kernel_str(
                (&raw mut (*whole).path).cast(),
                NAME_MAX as u32,
                self.path as *const _,
            );
            let path = if read > 0 { read as u64 - 1 } else { 0 };
            let length = size_of::<Control>() + (opaque(path) & (NAME_MAX as u64 - 1)) as usize;
            let bytes = core::slice::from_raw_parts(whole.cast::<u8>(), length);
            CONTROL.output_untyped::<[u8]>(bytes, 0)
        };
        if told.is_err() {
            count_lost();
        }
    }
}

/// Whether a cgroup is in the hierarchy that containers are told apart in; all of them fire the same tracepoints.
#[inline(always)]
pub fn is_observed(cgroup: u64) -> bool {
    let root: u64 = read(cgroup + u64::from(offset!(cgroup_root)));
    u64::from(read::<u32>(
        root + u64::from(offset!(cgroup_root_hierarchy)),
    )) == config!(hierarchy)
}

#[inline(always)]
fn id_of(cgroup: u64) -> u64 {
    let node: u64 = read(cgroup + u64::from(offset!(cgroup_kn)));
    read(node + u64::from(offset!(kernfs_id)))
}

/// The cgroup above; 0 if there is none.
#[inline(always)]
fn parent_of(cgroup: u64) -> u64 {
    let own = u64::from(offset!(cgroup_self));
    match read::<u64>(cgroup + own + u64::from(offset!(css_parent))) {
        0 => 0,
        css => css.wrapping_sub(own),
    }
}

/// Of [`around_apart`]: the cgroup is too far down to say that.
const TOO_DEEP: u64 = u64::MAX;
/// Of [`entry_apart`]: there is none.
const NONE: u64 = u64::MAX;

/// The cgroup of the outermost container around a cgroup; 0 if there is none. Names tell it, not the table: a container
/// around it may have no ring, and those between may be in no table.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn around_apart(cgroup: u64) -> u64 {
    let mut outermost = 0;
    let mut at = cgroup;
    let mut level = 0;
    while level < LEVELS {
        at = parent_of(at);
        let id = if at == 0 { 0 } else { id_of(at) };
        if id == 0 || id == config!(top) {
            return outermost;
        }
        if is_container_apart(at) != 0 {
            outermost = id;
        }
        level += 1;
    }
    TOO_DEEP
}

/// [`ring_number`], on its own for the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn entry_apart(cgroup: u64) -> u64 {
    ring_number(cgroup).map_or(NONE, u64::from)
}

/// [`insert`], on its own for the verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn insert_apart(cgroup: u64, ring: u64) -> u64 {
    u64::from(insert(cgroup, ring as u32))
}

/// A ring that counts what is inside its container, with its number.
#[derive(Clone, Copy)]
struct Account(u32, *mut Ring);

impl Account {
    /// Of the outermost container around what has this ring; of the container itself if that one is not recorded.
    #[inline(always)]
    fn of(entry: u64) -> Option<Self> {
        let own = entry as u32 & !NESTED;
        // SAFETY: the verifier checks the access.
        let outermost = unsafe { (*ring(own)?).outermost };
        let number = match entry_apart(outermost) {
            NONE => own,
            entry => entry as u32 & !NESTED,
        };
        Some(Self(number, ring(number)?))
    }

    /// One of its cgroups finds no place. Only the first is reported, so that many cannot flood the messages.
    #[inline(always)]
    fn turn_away(self) {
        let Self(number, ring) = self;
        // SAFETY: as above.
        let (before, cgroup) = unsafe {
            (
                atomic_xadd::<u64, u64, { AcqRel }>(&raw mut (*ring).turned_away, 1),
                (*ring).cgroup,
            )
        };
        if before == 0 {
            tell(control::REFUSED, number, cgroup, control::TURNED_AWAY);
        }
    }
}

/// Counts one more; false if there are as many as there may be.
#[inline(always)]
unsafe fn take(counter: *mut u64, most: u64) -> bool {
    // SAFETY: the verifier checks the accesses.
    unsafe {
        if atomic_xadd::<u64, u64, { AcqRel }>(counter, 1) < most {
            return true;
        }
        give_back(counter);
    }
    false
}

#[inline(always)]
unsafe fn give_back(counter: *mut u64) {
    // SAFETY: as above.
    unsafe { atomic_xadd::<u64, u64, { AcqRel }>(counter, u64::MAX) };
}

/// (cgroup, path): one named like a container's takes a free ring; another one inside a recorded container shares that
/// container's ring. How much an outermost container may have of either is limited.
#[raw_tracepoint(tracepoint = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: RawTracePointContext) -> i32 {
    let cgroup: u64 = ctx.arg(0);
    if !is_observed(cgroup) || is_lapsed() {
        return 0;
    }
    let id = id_of(cgroup);
    let new = New {
        id,
        path: ctx.arg(1),
    };
    if is_container_apart(cgroup) == 0 {
        nested(cgroup, id);
        return 0;
    }
    let around = around_apart(cgroup);
    if around == 0 {
        outermost(&ctx, new);
        return 0;
    }
    // Whoever makes what is too far down is inside that container.
    let entry = entry_apart(if around == TOO_DEEP {
        current_cgroup()
    } else {
        around
    });
    // What is inside a container that is not recorded is not recorded either.
    if entry != NONE
        && let Some(account) = Account::of(entry)
    {
        if around == TOO_DEEP {
            account.turn_away();
        } else {
            inner(account, new);
        }
    }
    0
}

/// A container inside none.
#[inline(always)]
fn outermost(ctx: &RawTracePointContext, new: New) {
    let Ok(Some(number)) = POOL.pop() else {
        warn!(ctx, "no free ring for cgroup {}", new.id);
        new.tell(control::REFUSED, 0, control::POOL_EMPTY);
        return;
    };
    let number = number & (RING_COUNT as u32 - 1);
    let Some(ring) = ring(number) else { return };
    give(ring, new, new.id);
    if insert_apart(new.id, number.into()) == 0 {
        let _ = POOL.push(number, 0);
        warn!(ctx, "no place in the table for cgroup {}", new.id);
        new.tell(control::REFUSED, number, control::SET_FULL);
        return;
    }
    debug!(ctx, "cgroup {} has ring {}", new.id, number);
    new.tell(control::ASSIGNED, number, 0);
}

/// A container inside another one.
#[inline(always)]
fn inner(account: Account, new: New) {
    let Account(_, outer) = account;
    // SAFETY: the verifier checks the accesses.
    unsafe {
        if !take(&raw mut (*outer).inner, INNER_MOST) {
            account.turn_away();
            return;
        }
        if let Ok(Some(number)) = POOL.pop() {
            let number = number & (RING_COUNT as u32 - 1);
            if let Some(ring) = ring(number) {
                give(ring, new, (*outer).cgroup);
                if insert_apart(new.id, number.into()) != 0 {
                    new.tell(control::ASSIGNED, number, (*outer).cgroup);
                    return;
                }
            }
            let _ = POOL.push(number, 0);
        }
        give_back(&raw mut (*outer).inner);
    }
    account.turn_away();
}

/// A cgroup that is not named like a container's.
#[inline(always)]
fn nested(cgroup: u64, id: u64) {
    let entry = entry_apart(id_of(parent_of(cgroup)));
    if entry == NONE {
        return;
    }
    let number = entry as u32 & !NESTED;
    let Some(account) = Account::of(entry) else {
        return;
    };
    let Account(_, outer) = account;
    // SAFETY: as above.
    unsafe {
        if take(&raw mut (*outer).nested, NESTED_MOST) {
            if insert_apart(id, (number | NESTED).into()) != 0 {
                return;
            }
            give_back(&raw mut (*outer).nested);
        }
    }
    account.turn_away();
}

/// Starts a ring's new life: what is in it stays, and is told from what follows by the position.
#[inline(always)]
fn give(ring: *mut Ring, new: New, outermost: u64) {
    // SAFETY: the verifier checks the accesses; the ring was in the pool, so nobody writes to it.
    unsafe {
        let mut lane = 0;
        while lane < LANES {
            let header = &raw mut (*ring).lanes[lane];
            (*header).start = (*header).head;
            (*header).records = 0;
            (*header).torn = 0;
            lane += 1;
        }
        (*ring).cgroup = new.id;
        (*ring).init = 0;
        (*ring).assigned = bpf_ktime_get_boot_ns();
        (*ring).compat = 0;
        (*ring).stdout = 0;
        (*ring).stderr = 0;
        (*ring).outermost = outermost;
        (*ring).nested = 0;
        (*ring).inner = 0;
        (*ring).turned_away = 0;
        (*ring).adopted = 0;
        (*ring).run = 0;
        (*ring).path[0] = 0;
        bpf_probe_read_kernel_str(
            (&raw mut (*ring).path).cast(),
            NAME_MAX as u32,
            new.path as *const _,
        );
        (*ring).generation = (*ring).generation.wrapping_add(1);
    }
}

/// Whether a cgroup's name has the shape of a container's. On its own for the verifier, which then checks it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_container_apart(cgroup: u64) -> u64 {
    u64::from(is_container(cgroup))
}

#[inline(always)]
fn is_container(cgroup: u64) -> bool {
    let Some(scratch) = MKDIR_SCRATCH.get_ptr_mut(key_zero()) else {
        return false;
    };
    let node: u64 = read(cgroup + u64::from(offset!(cgroup_kn)));
    let source: u64 = read(node + u64::from(offset!(kernfs_name)));
    // SAFETY: the verifier checks the accesses; the buffer is aligned as a map's value is.
    let start = unsafe {
        let name = (&raw mut (*scratch).name).cast::<u8>();
        // A short name leaves an earlier one's bytes behind its end.
        core::ptr::write_bytes(name.cast::<u64>(), 0, 3);
        if bpf_probe_read_kernel_str(name.cast(), NAME_MAX as u32, source as *const _) < 0 {
            return false;
        }
        *name.cast::<[u64; 3]>()
    };
    match first_shape(start) {
        Some((_, 0)) => true,
        Some((prefix, _)) => is_id_apart(prefix.into()) != 0,
        None => false,
    }
}

/// Length of the prefix and number of digits of the first shape whose prefix fits.
#[inline(always)]
fn first_shape(start: [u64; 3]) -> Option<(u32, u32)> {
    let mut index = 0;
    while index < SHAPES as u32 {
        let shape = CONTAINER_SHAPES.get(index)?;
        if shape.digits == NO_SHAPE {
            return None;
        }
        let different = (start[0] ^ shape.prefix[0]) & shape.mask[0]
            | (start[1] ^ shape.prefix[1]) & shape.mask[1]
            | (start[2] ^ shape.prefix[2]) & shape.mask[2];
        if different == 0 {
            return Some((shape.prefix_len, shape.digits));
        }
        index += 1;
    }
    None
}

/// Whether the digits of an id stand at `start` of the name that was read, followed by its end or a dot. On its own for the
/// verifier.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn is_id_apart(start: u64) -> u64 {
    let Some(scratch) = MKDIR_SCRATCH.get_ptr_mut(key_zero()) else {
        return 0;
    };
    let at = |index: u64| {
        let index = (opaque(index) & (NAME_MAX as u64 - 1)) as usize;
        // SAFETY: the mask keeps the access inside the buffer.
        unsafe { core::ptr::read_volatile((&raw const (*scratch).name).cast::<u8>().add(index)) }
    };
    let mut digit = 0;
    while digit < ID_DIGITS {
        if !at(start + digit).is_ascii_hexdigit() {
            return 0;
        }
        digit += 1;
    }
    u64::from(matches!(at(start + ID_DIGITS), 0 | b'.'))
}

/// A cgroup was removed: one inside a container's leaves the table at once, a container's own is user space's to release.
#[raw_tracepoint(tracepoint = "cgroup_rmdir")]
pub fn cgroup_rmdir(ctx: RawTracePointContext) -> i32 {
    let cgroup: u64 = ctx.arg(0);
    if !is_observed(cgroup) {
        return 0;
    }
    let id = id_of(cgroup);
    match ring_number(id) {
        Some(number) if number & NESTED != 0 => {
            remove(id);
            if let Some(Account(_, outer)) = Account::of(number.into()) {
                // SAFETY: the verifier checks the accesses.
                unsafe {
                    if core::ptr::read_volatile(&raw const (*outer).nested) > 0 {
                        give_back(&raw mut (*outer).nested);
                    }
                }
            }
        }
        Some(number) => tell(control::REMOVED, number, id, 0),
        None => {}
    }
    0
}
