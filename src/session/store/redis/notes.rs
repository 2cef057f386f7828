//! Small values, each with the moment until which it is good.

use std::time::Duration;

use super::trouble::Trouble;
use super::{RedisStore, command, names, rows};
use crate::clock::Timestamp;

/// How much longer than its span a kept value lives, which is judged by the caller's clock.
const KEPT_GRACE: Duration = Duration::from_mins(1);

impl RedisStore {
    pub(super) async fn keep(
        &self,
        key: &str,
        value: &[u8],
        span: Duration,
        now: Timestamp,
    ) -> Result<bool, Trouble> {
        let until = (now + span).unix_millis().to_string();
        let value = [until.as_bytes(), b" ", value].concat();
        let call = self.link.scripts.keep.on(names::kept(key)).bytes(value);
        let call = call.number(span.saturating_add(KEPT_GRACE).as_millis());
        self.link.call(call.number(now.unix_millis())).await
    }

    /// A kept value, by `GET`, or by `GETDEL`, which takes it out.
    pub(super) async fn kept(
        &self,
        get: &str,
        key: &str,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, Trouble> {
        let mut get = command(get);
        get.arg(names::kept(key));
        let Some(mut value) = self.link.query::<Option<Vec<u8>>>(&get).await? else {
            return Ok(None);
        };
        let space = value.iter().position(|byte| *byte == b' ');
        let space = space.ok_or(Trouble::NoRecord)?;
        let rest = value.split_off(space + 1);
        value.truncate(space);
        Ok((rows::time(Some(value))? > now).then_some(rest))
    }
}
