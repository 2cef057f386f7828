//! How many sockets and files the process may have open.
//!
//! The soft limit is often 1,024 for no reason but habit, and twelve HTTP/2 connections with a hundred
//! calls each use it up. So it is raised to the hard one at start, and where even that is less than
//! the configuration asks for, fewer connections are let in and a warning says so.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are no browser's and no upstream's: listeners, runtimes, the administration's, the
/// provider's and the store's connections, and a quarter for files of the app. Who accepts and who asks
/// whether this process lives must find one, whatever strangers hold.
const RESERVE: u64 = 256;

/// Raises the soft limit to the hard one; how many descriptors there may be then, `None` where there is
/// no limit.
pub fn raise() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return limit.current;
    }
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::warn!(event = "limits.open_files", %error, "the limit on open files could not be raised");
            limit.current
        }
    }
}

/// How many connections to upstreams fit beside so many of browsers: what is left, which is half or
/// more.
pub fn upstreams_that_fit(connections: usize, descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else {
        return usize::MAX;
    };
    let left = descriptors.saturating_sub(reserve(descriptors));
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    left.saturating_sub(connections).max(1)
}

/// How many files of the app may be open at once. Streams of more take turns.
pub fn files_that_fit(descriptors: Option<u64>) -> usize {
    let fit = descriptors.map_or(RESERVE, reserve) / 4;
    usize::try_from(fit).unwrap_or(usize::MAX)
}

fn reserve(descriptors: u64) -> u64 {
    RESERVE.min(descriptors / 2)
}

/// How many of `wanted` connections fit, where each may need one more to an upstream.
pub fn connections_that_fit(wanted: usize, descriptors: Option<u64>) -> usize {
    let Some(descriptors) = descriptors else {
        return wanted;
    };
    let fit = descriptors.saturating_sub(reserve(descriptors)) / 2;
    let fit = usize::try_from(fit).unwrap_or(usize::MAX).max(1);
    fit.min(wanted)
}

/// Tells the operator, where not all of `wanted` connections fit.
pub fn warn_of_fewer(connections: usize, wanted: usize, descriptors: Option<u64>) {
    if connections < wanted {
        tracing::warn!(
            event = "limits.open_files",
            open_files = descriptors,
            connections,
            wanted,
            "the process may open too few files for server.limits.connections; fewer are let in: \
             raise the limit (LimitNOFILE= in systemd, ulimit -n) to twice as many and 256 more"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_fit_into_the_descriptors() {
        for (wanted, descriptors, fit) in [
            (10_000, None, 10_000),
            (10_000, Some(1_048_576), 10_000),
            (10_000, Some(20_256), 10_000),
            (10_000, Some(1024), 384),
            (10_000, Some(64), 16),
            (10_000, Some(0), 1),
        ] {
            assert_eq!(
                connections_that_fit(wanted, descriptors),
                fit,
                "{descriptors:?}"
            );
        }
    }

    #[test]
    fn upstreams_have_what_is_left() {
        for (connections, descriptors, fit) in [
            (10_000, None, usize::MAX),
            (10_000, Some(1_048_576), 1_038_320),
            (384, Some(1024), 384),
            (100, Some(1024), 668),
            (1, Some(0), 1),
        ] {
            assert_eq!(
                upstreams_that_fit(connections, descriptors),
                fit,
                "{descriptors:?}"
            );
        }
    }

    #[test]
    fn files_have_a_part_of_the_reserve() {
        for (descriptors, fit) in [(None, 64), (Some(1024), 64), (Some(64), 8), (Some(0), 0)] {
            assert_eq!(files_that_fit(descriptors), fit, "{descriptors:?}");
        }
    }

    #[test]
    fn the_limit_is_the_hard_one_afterwards() {
        let raised = raise();
        assert_eq!(raised, getrlimit(Resource::Nofile).current);
        assert_eq!(raised, getrlimit(Resource::Nofile).maximum);
    }
}
