//! Signals to a child and its descendants, by the child's own handle.

use std::{
    fs,
    path::Path,
    process::{Child, ExitStatus},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How often something is looked at again while it is waited for.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// Looks every few milliseconds until `look` finds something or the time is over.
pub(crate) fn wait_for<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(TICK);
    }
}

/// Whether the child still runs; as long as it has not been waited for, its id stays its own.
pub(crate) fn is_alive(child: &mut Child) -> bool {
    matches!(child.try_wait(), Ok(None))
}

/// Sends a signal to the child alone.
pub(crate) fn signal(child: &mut Child, signal: Signal) {
    if is_alive(child) {
        // It may have ended by itself meanwhile, which is what most signals are for.
        let _ = kill_process(Pid::from_child(child), signal);
    }
}

/// Waits until the child has ended.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    wait_for(limit, || child.try_wait().ok().flatten())
}

/// Stops the child and all its descendants where they are, and returns the descendants.
///
/// A signal is only on its way when `kill` returns, and a thread on the other processor may still answer a request: it is
/// waited for until every thread stands still.
///
/// The child comes first, since it starts the others; as its ended children are not waited for while it stands still,
/// their ids stay their own.
pub(crate) fn pause(child: &mut Child) -> Vec<Pid> {
    signal(child, Signal::STOP);
    let mut paused = Vec::new();
    loop {
        let mut fresh = descendants(child);
        fresh.retain(|pid| !paused.contains(pid));
        if fresh.is_empty() {
            let all = || std::iter::once(Pid::from_child(child)).chain(paused.iter().copied());
            wait_for(Duration::from_secs(5), || all().all(stands_still).then_some(()));
            return paused;
        }
        send(&fresh, Signal::STOP);
        paused.append(&mut fresh);
    }
}

/// Lets the child and its descendants go on.
pub(crate) fn resume(child: &mut Child) {
    send(&descendants(child), Signal::CONT);
    signal(child, Signal::CONT);
}

/// Ends the child and its descendants as a power cut would, and waits until they are gone.
pub(crate) fn kill(child: &mut Child) {
    let descendants = pause(child);
    send(&descendants, Signal::KILL);
    signal(child, Signal::KILL);
    // Whoever was sent this signal cannot refuse it.
    let _ = child.wait();
    let gone = |pid: &Pid| !matches!(stat(*pid), Some(stat) if stat.state != 'Z');
    wait_for(Duration::from_secs(5), || descendants.iter().all(gone).then_some(()));
}

/// The child's children and theirs.
pub(crate) fn descendants(child: &mut Child) -> Vec<Pid> {
    if !is_alive(child) {
        return Vec::new();
    }
    let ids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = ids.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let all: Vec<_> = ids.filter_map(|pid| Some((pid, stat(pid)?.parent))).collect();
    let mut found = vec![Pid::from_child(child)];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        let children = all.iter().filter(|(_, of)| *of == parent.as_raw_nonzero().get());
        found.extend(children.map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

fn send(pids: &[Pid], signal: Signal) {
    for pid in pids {
        // One that has ended meanwhile needs no signal.
        let _ = kill_process(*pid, signal);
    }
}

/// Whether no thread of the process runs: each is stopped, or has ended.
fn stands_still(pid: Pid) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).into_iter().flatten().flatten();
    let mut states = threads.filter_map(|thread| stat_of(&thread.path().join("stat")));
    states.all(|stat| matches!(stat.state, 'T' | 't' | 'Z' | 'X'))
}

struct Stat {
    state: char,
    parent: i32,
}

/// `/proc/<id>/stat` as in proc(5): the name in brackets may hold anything, so its last bracket counts.
fn stat(pid: Pid) -> Option<Stat> {
    stat_of(Path::new(&format!("/proc/{}/stat", pid.as_raw_nonzero())))
}

fn stat_of(file: &Path) -> Option<Stat> {
    let text = fs::read_to_string(file).ok()?;
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    Some(Stat { state: fields.next()?.chars().next()?, parent: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn family() -> Child {
        let script = "sleep 30 & sh -c 'sleep 30 & wait' & wait";
        Command::new("sh").args(["-c", script]).stdout(Stdio::null()).spawn().unwrap()
    }

    #[test]
    fn a_whole_family_is_paused_resumed_and_killed() {
        let mut child = family();
        let all = wait_for(Duration::from_secs(5), || {
            let found = descendants(&mut child);
            (found.len() == 3).then_some(found)
        });
        let mut all = all.unwrap();
        let states = |all: &[Pid]| all.iter().map(|pid| stat(*pid).unwrap().state).collect::<String>();

        let mut paused = pause(&mut child);
        for pids in [&mut paused, &mut all] {
            pids.sort_by_key(|pid| pid.as_raw_nonzero());
        }
        assert_eq!(paused, all);
        assert_eq!(states(&all), "TTT", "they stand still when pause returns");
        resume(&mut child);
        wait_for(Duration::from_secs(5), || (states(&all) == "SSS").then_some(())).unwrap();
        kill(&mut child);
        assert!(!is_alive(&mut child));
        assert!(all.iter().all(|pid| stat(*pid).is_none_or(|stat| stat.state == 'Z')));
        assert_eq!(descendants(&mut child), [], "a child that was waited for has none");
    }
}
