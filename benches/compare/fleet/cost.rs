//! The CPU time of processes and of their children, in microseconds.

use std::fs;

/// What some processes had used when they were first looked at.
pub(super) struct Cost {
    pids: Vec<u32>,
    before: u64,
}

impl Cost {
    pub(super) fn of(pids: &[u32]) -> Self {
        Self {
            pids: pids.to_vec(),
            before: used(pids),
        }
    }

    /// What they used since.
    pub(super) fn so_far(&self) -> u64 {
        used(&self.pids).saturating_sub(self.before)
    }
}

fn used(pids: &[u32]) -> u64 {
    let all = all_processes();
    let mut family = pids.to_vec();
    // Children stand behind their parents, so that theirs are found too.
    let mut at = 0;
    while let Some(&parent) = family.get(at) {
        family.extend(
            all.iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| pid),
        );
        at += 1;
    }
    family.iter().map(|pid| of_threads(*pid)).sum::<u64>() / 1000
}

/// In nanoseconds; a process that is gone has used nothing.
fn of_threads(pid: u32) -> u64 {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return 0;
    };
    threads
        .filter_map(|thread| {
            let told = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            told.split(' ').next()?.parse::<u64>().ok()
        })
        .sum()
}

/// Each process, and whose child it is.
fn all_processes() -> Vec<(u32, u32)> {
    let Ok(listed) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    listed
        .filter_map(|entry| {
            let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // Behind its name, which may hold anything: its state, then its parent.
            let parent = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent))
        })
        .collect()
}
