//! How much memory sessions may take where the operator does not say.

use std::fs;
use std::path::Path;

/// What they may take where the machine does not tell either.
const UNTOLD: u64 = 512 << 20;

/// What a start leaves them of what is available, whatever that is.
const LEAST: u64 = 16 << 20;

/// Half of what is available now, to the machine and to the process's cgroup: the other half is for
/// connections, bodies under way, and whoever else is here.
pub(super) fn for_sessions() -> u64 {
    within(Path::new("/"))
}

fn within(root: &Path) -> u64 {
    let machine = free(&text(root, "proc/meminfo"));
    let cgroups = text(root, "proc/self/cgroup");
    let limits = cgroups.lines().flat_map(|line| limits(root, line));
    let available = machine.into_iter().chain(limits).min();
    available.map_or(UNTOLD, |bytes| bytes / 2).max(LEAST)
}

/// `MemAvailable` of proc(5).
fn free(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1 << 10)
}

/// What bounds a group of this line of `/proc/self/cgroup`: its own limit and those of the groups around it.
/// A container sees its own group as the outermost one, whatever the line calls it.
fn limits(root: &Path, line: &str) -> Vec<u64> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
        return Vec::new();
    };
    let (mount, file) = if controllers.is_empty() {
        ("sys/fs/cgroup", "memory.max")
    } else if controllers
        .split(',')
        .any(|controller| controller == "memory")
    {
        ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
    } else {
        return Vec::new();
    };
    let groups = Path::new(path.trim_start_matches('/')).ancestors();
    // "max" where there is none.
    let limit = |group: &Path| {
        text(&root.join(mount).join(group), file)
            .trim()
            .parse()
            .ok()
    };
    groups.filter_map(limit).collect()
}

/// Empty where there is nothing to read.
fn text(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal: 8388608 kB\nMemFree: 1 kB\nMemAvailable:    4194304 kB\n";
    const GIB: u64 = 1 << 30;

    #[test]
    fn half_of_what_the_machine_and_the_cgroup_leave_is_for_sessions() {
        type Files = &'static [(&'static str, &'static str)];
        let cases: [(&str, Files, u64); 7] = [
            ("nothing is told", &[], UNTOLD),
            ("the machine alone", &[("proc/meminfo", MEMINFO)], 2 * GIB),
            (
                "a container of cgroup v2",
                &[
                    ("proc/meminfo", MEMINFO),
                    ("proc/self/cgroup", "0::/\n"),
                    ("sys/fs/cgroup/memory.max", "1073741824\n"),
                ],
                GIB / 2,
            ),
            (
                "a unit without a limit in a slice with one",
                &[
                    ("proc/meminfo", MEMINFO),
                    ("proc/self/cgroup", "0::/apps.slice/bff.service\n"),
                    ("sys/fs/cgroup/apps.slice/memory.max", "2147483648\n"),
                    ("sys/fs/cgroup/apps.slice/bff.service/memory.max", "max\n"),
                ],
                GIB,
            ),
            (
                "a container of cgroup v1, named from outside",
                &[
                    ("proc/meminfo", MEMINFO),
                    (
                        "proc/self/cgroup",
                        "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n0::/\n",
                    ),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
                ],
                GIB / 8,
            ),
            (
                "cgroup v1 without a limit",
                &[
                    ("proc/meminfo", MEMINFO),
                    ("proc/self/cgroup", "4:memory:/\n"),
                    (
                        "sys/fs/cgroup/memory/memory.limit_in_bytes",
                        "9223372036854771712\n",
                    ),
                ],
                2 * GIB,
            ),
            (
                "hardly anything is left",
                &[("proc/meminfo", "MemAvailable: 100 kB\n")],
                LEAST,
            ),
        ];
        for (name, files, expected) in cases {
            let root = tempfile::tempdir().unwrap();
            for (file, text) in files {
                let file = root.path().join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            assert_eq!(within(root.path()), expected, "{name}");
        }
    }
}
