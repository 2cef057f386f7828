//! The steps that read and write at once, in Lua. Each touches one key, and what it tells the other
//! nodes it tells in the same step, by way of a list (telling.rs).

use aws_lc_rs::digest;
use redis::Cmd;

use super::names::hex;

/// ARGV: time to live, then fields and values. Whether it was new.
const INSERT: &str = "
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
";

/// `tell` says a line and all that waits in the list, or has it wait too: then it answers how many do.
/// Where there is no list for it (another master has it by now, or we lack the right), it is said at
/// once. `publish` says each node's own to it alone.
macro_rules! telling {
    ($script:literal) => {
        concat!(
            "
local function publish(told)
  local all = {}
  for _, line in ipairs(told) do
    if string.sub(line, 1, 2) ~= 'o ' then all[#all + 1] = line end
  end
  if #all > 0 then redis.call('PUBLISH', 'bff:events', table.concat(all, '\\n')) end
  if #all == #told then return end
  for _, line in ipairs(told) do
    local node, said = string.match(line, '^o (%S+) (.*)$')
    if node then redis.call('PUBLISH', 'bff:events:' .. node, said) end
  end
end
local function tell(list, span, line)
  local told = {}
  if list ~= '' then
    local turn = redis.pcall('SET', list .. ':turn', '', 'NX', 'PX', span)
    local waiting = not turn and redis.pcall('RPUSH', list, line)
    if type(waiting) == 'number' and waiting < 1000 then return waiting end
    told = redis.pcall('LRANGE', list, 0, -1)
    if told.err then told = {} end
  end
  if #told > 0 then redis.call('DEL', list) end
  if told[#told] ~= line then told[#told + 1] = line end
  publish(told)
  return 0
end
",
            $script
        )
    };
}

/// ARGV: version, data, then the list (or nothing), its span, what to tell, and perhaps what to tell in the
/// clear. What became of it, and how many lines wait.
const REPLACE: &str = telling!(
    "
local version = redis.call('HGET', KEYS[1], 'version')
if not version then return {'ended'} end
if tonumber(version) + 1 ~= tonumber(ARGV[1]) then return {'overtaken'} end
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'data', ARGV[2])
if ARGV[6] then redis.call('PUBLISH', 'bff:events', ARGV[6]) end
return {'saved', tostring(tell(ARGV[3], ARGV[4], ARGV[5]))}
"
);

/// ARGV: version, data.
const RESEAL: &str = "
if redis.call('HGET', KEYS[1], 'version') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'data', ARGV[2])
end
return 0
";

/// ARGV: seen, expires. What `expires` is now, if it lives.
const SLIDE: &str = "
local row = redis.call('HMGET', KEYS[1], 'version', 'seen', 'expires')
if not row[1] then return false end
if tonumber(ARGV[1]) > tonumber(row[2]) then redis.call('HSET', KEYS[1], 'seen', ARGV[1]) end
if tonumber(ARGV[2]) <= tonumber(row[3]) then return row[3] end
redis.call('HSET', KEYS[1], 'expires', ARGV[2])
return ARGV[2]
";

/// ARGV: reason, the present, whether only an expired session is to end (or nothing), then as
/// [`REPLACE`]. The record as it was, and how many lines wait; `expires` of one that lives on; nothing where
/// there was none. The end is remembered for as long as the session could have lived.
const END: &str = telling!(
    "
local row = redis.call('HMGET', KEYS[1], 'version', 'created', 'seen', 'expires', 'ends',
  'subject', 'sid', 'name', 'data', 'ended', 'site', 'issuer', 'client')
if not row[1] then return false end
if ARGV[3] ~= '' and tonumber(row[4]) > tonumber(ARGV[2]) then return row[4] end
redis.call('DEL', KEYS[1])
local left = tonumber(row[5]) - tonumber(ARGV[2])
if left > 0 then
  redis.call('HSET', KEYS[1], 'ended', ARGV[1])
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', left))
end
if ARGV[7] then redis.call('PUBLISH', 'bff:events', ARGV[7]) end
row[14] = tostring(tell(ARGV[4], ARGV[5], ARGV[6]))
return row
"
);

/// ARGV: a list of this very server, its span, what to tell. How many lines wait.
const SAY: &str = telling!("return tell(ARGV[1], ARGV[2], ARGV[3])");

/// ARGV: a span, for which what comes next has to wait.
const SAY_WHAT_WAITS: &str = telling!(
    "
local told = redis.pcall('LRANGE', KEYS[1], 0, -1)
if told.err or #told == 0 then return 0 end
redis.call('DEL', KEYS[1])
publish(told)
redis.pcall('SET', KEYS[1] .. ':turn', '', 'PX', ARGV[1])
return 0
"
);

/// ARGV: score, member, time to live. The key lives as long as its longest member.
const INDEX: &str = "
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 0
";

/// As [`INDEX`]. All members, the new one among them.
const ENTER: &str = "
redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return redis.call('ZRANGE', KEYS[1], 0, -1)
";

/// As [`INDEX`], if there are fewer members than ARGV 4 besides those that follow it. All members
/// where there is no room.
const ADMIT: &str = "
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then
  local count = redis.call('ZCARD', KEYS[1])
  for i = 5, #ARGV do
    if redis.call('ZSCORE', KEYS[1], ARGV[i]) then count = count - 1 end
  end
  if count >= tonumber(ARGV[4]) then return redis.call('ZRANGE', KEYS[1], 0, -1) end
  redis.call('ZADD', KEYS[1], ARGV[1], ARGV[2])
end
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return false
";

/// ARGV: owner, span. Whether the owner holds it.
const LEASE: &str = "
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
";

/// ARGV: owner.
const RELEASE: &str = "
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 0
";

/// ARGV: until when and the value, time to live, the present. Whether it was the first.
const KEEP: &str = "
local there = redis.call('GET', KEYS[1])
if there and tonumber(string.match(there, '^%-?%d+')) > tonumber(ARGV[3]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
";

/// ARGV: our version. The version that is there; it writes, so that a server that takes no writes
/// says so.
const SCHEMA: &str = "
local there = redis.call('GET', KEYS[1])
if there and tonumber(there) > tonumber(ARGV[1]) then return there end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
";

/// All scripts, with their digests, by which Redis knows them after the first time.
#[derive(Debug)]
pub(super) struct Scripts {
    pub(super) insert: Script,
    pub(super) replace: Script,
    pub(super) reseal: Script,
    pub(super) slide: Script,
    pub(super) end: Script,
    pub(super) index: Script,
    pub(super) enter: Script,
    pub(super) admit: Script,
    pub(super) lease: Script,
    pub(super) release: Script,
    pub(super) keep: Script,
    pub(super) schema: Script,
    pub(super) say: Script,
    pub(super) say_what_waits: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            insert: Script::new(INSERT),
            replace: Script::new(REPLACE),
            reseal: Script::new(RESEAL),
            slide: Script::new(SLIDE),
            end: Script::new(END),
            index: Script::new(INDEX),
            enter: Script::new(ENTER),
            admit: Script::new(ADMIT),
            lease: Script::new(LEASE),
            release: Script::new(RELEASE),
            keep: Script::new(KEEP),
            schema: Script::new(SCHEMA),
            say: Script::new(SAY),
            say_what_waits: Script::new(SAY_WHAT_WAITS),
        }
    }
}

/// One script.
#[derive(Debug)]
pub(super) struct Script {
    source: &'static str,
    digest: String,
}

impl Script {
    fn new(source: &'static str) -> Self {
        // Redis names scripts by SHA-1; nothing rests on its strength.
        let digest = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, source.as_bytes());
        Self {
            source,
            digest: hex(digest.as_ref()),
        }
    }

    /// A call of it on one key.
    pub(super) fn on(&self, key: impl Into<Vec<u8>>) -> Call<'_> {
        Call {
            script: self,
            key: Some(key.into()),
            arguments: Vec::new(),
        }
    }

    /// A call of it that names no key: it runs on the server that is asked, and on no other.
    pub(super) const fn here(&self) -> Call<'_> {
        Call {
            script: self,
            key: None,
            arguments: Vec::new(),
        }
    }
}

/// A script, its key and its arguments.
#[derive(Debug)]
pub(super) struct Call<'a> {
    script: &'a Script,
    key: Option<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl Call<'_> {
    pub(super) fn bytes(mut self, argument: impl Into<Vec<u8>>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    pub(super) fn number(self, argument: impl Copy + ToString) -> Self {
        self.bytes(argument.to_string())
    }

    /// By its digest, which is short, and fails where the server has not seen the script.
    pub(super) fn by_digest(&self) -> Cmd {
        self.command("EVALSHA", &self.script.digest)
    }

    /// Written out.
    pub(super) fn written_out(&self) -> Cmd {
        self.command("EVAL", self.script.source)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(usize::from(self.key.is_some()));
        command.arg(&self.key);
        for argument in &self.arguments {
            command.arg(argument);
        }
        command
    }
}
