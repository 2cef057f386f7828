//! What the operating system says of this process, under the names that every exporter uses.

use std::fs;

/// The figures as Prometheus reads them; those that cannot be had are left out.
pub(super) fn render() -> String {
    let mut text = String::new();
    let mut write = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let lines = format!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n\n");
            text.push_str(&lines);
        }
    };
    let stat = Stat::read();
    let stat = stat.as_ref();
    write(
        "process_cpu_seconds_total",
        "counter",
        "User and system time of the process.",
        stat.map(Stat::cpu_seconds),
    );
    write(
        "process_resident_memory_bytes",
        "gauge",
        "Memory that the process has in use.",
        resident_bytes(),
    );
    write(
        "process_threads",
        "gauge",
        "Threads of the process.",
        stat.map(|stat| stat.threads),
    );
    write(
        "process_start_time_seconds",
        "gauge",
        "When the process began, in seconds since 1970.",
        stat.and_then(Stat::started),
    );
    let open = fs::read_dir("/proc/self/fd").ok();
    write(
        "process_open_fds",
        "gauge",
        "Files and sockets that the process has open.",
        open.map(|open| u32::try_from(open.count()).unwrap_or(u32::MAX).into()),
    );
    write(
        "process_max_fds",
        "gauge",
        "Files and sockets that it may have open.",
        most_files(),
    );
    text
}

/// What `/proc/self/stat` tells (proc(5)), in ticks of the clock.
struct Stat {
    user: f64,
    system: f64,
    threads: f64,
    /// Since the machine started.
    started: f64,
}

impl Stat {
    fn read() -> Option<Self> {
        let text = fs::read_to_string("/proc/self/stat").ok()?;
        // The name before may hold anything, parentheses too. What follows counts from field 3.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse().ok();
        Some(Self {
            user: number(14)?,
            system: number(15)?,
            threads: number(20)?,
            started: number(22)?,
        })
    }

    fn cpu_seconds(&self) -> f64 {
        (self.user + self.system) / ticks()
    }

    fn started(&self) -> Option<f64> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let booted = text.lines().find_map(|line| line.strip_prefix("btime "))?;
        Some(booted.trim().parse::<f64>().ok()? + self.started / ticks())
    }
}

/// A second's ticks.
fn ticks() -> f64 {
    let ticks = rustix::param::clock_ticks_per_second();
    u32::try_from(ticks).unwrap_or(100).into()
}

fn resident_bytes() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// `None` where there is no limit.
fn most_files() -> Option<f64> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 files")]
    limit.current.map(|most| most as f64)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// The figures are those of a process that runs: none is missing, none absurd.
    #[test]
    fn the_process_is_told_of() {
        let text = render();
        let figure = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        assert!(figure("process_resident_memory_bytes ") > 1024.0 * 1024.0);
        assert!(figure("process_threads ") >= 1.0);
        assert!(figure("process_open_fds ") >= 3.0);
        assert!(figure("process_open_fds ") <= figure("process_max_fds "));
        assert!(figure("process_cpu_seconds_total ") < 3600.0 * 24.0);
        // 2020.
        assert!(figure("process_start_time_seconds ") > 1_577_836_800.0);
    }
}
