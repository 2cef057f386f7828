//! Whether Redis can be used, and what its owner should know.

use redis::InfoDict;

use super::link::{Link, judge_schema, schema};
use super::trouble::Trouble;

/// Whether it answers, takes writes, and holds nothing of a newer version. One trip.
pub(super) async fn check(link: &Link) -> Result<(), Trouble> {
    judge_schema(link.call(schema(&link.scripts)).await?)
}

/// As [`check`], and warns of settings that lose sessions. A user who may not ask is not warned.
pub(super) async fn prepare(link: &Link) -> Result<(), Trouble> {
    check(link).await?;
    let info = link.query_any::<String>(&redis::cmd("INFO")).await;
    let Ok(info) = info.map(|info| InfoDict::new(&info)) else {
        return Ok(());
    };
    if info
        .get::<String>("redis_version")
        .is_some_and(|version| is_old(&version))
    {
        return Err(Trouble::Old);
    }
    let policy = info.get::<String>("maxmemory_policy").unwrap_or_default();
    if info.get::<u64>("maxmemory").is_some_and(|most| most > 0) && evicts(&policy) {
        tracing::warn!(
            event = "store.risky",
            policy,
            "Redis drops sessions when its memory is full; set maxmemory-policy noeviction"
        );
    }
    let mut save = redis::cmd("CONFIG");
    save.arg("GET").arg("save");
    let save = link.query_any::<Vec<(String, String)>>(&save).await;
    let saves_nothing = save.is_ok_and(|save| save.iter().all(|(_, when)| when.is_empty()));
    if saves_nothing && info.get::<u8>("aof_enabled") == Some(0) {
        tracing::warn!(
            event = "store.risky",
            "Redis keeps sessions in memory alone; set appendonly yes"
        );
    }
    Ok(())
}

/// Every session has a time to live, so the policies for volatile keys drop them as well.
fn evicts(policy: &str) -> bool {
    policy != "noeviction"
}

fn is_old(version: &str) -> bool {
    let mut numbers = version.split('.').map(str::parse::<u32>);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or_default();
    (next(), next()) < (6, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_before_6_2_are_old() {
        let cases = [
            ("5.0.14", true),
            ("6.0.16", true),
            ("6.2.0", false),
            ("7.0.15", false),
            ("10.0.0", false),
        ];
        for (version, old) in cases {
            assert_eq!(is_old(version), old, "{version}");
        }
    }
}
