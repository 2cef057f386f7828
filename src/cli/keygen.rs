//! `bff keygen`: a key, and with `--rotate` how it takes the place of the one in use.

use std::io;
use std::path::Path;

use crate::cli::{KeygenOptions, Terminal};
use crate::clock::SystemRandomness;
use crate::config::{Config, ConfigErrors, KeyPlace, Variables};
use crate::secret::SessionKey;

/// Why no key was printed.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeygenError {
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

/// Prints what `options` ask for. Changes nothing anywhere.
pub(super) fn keygen(
    options: &KeygenOptions,
    variables: &Variables,
    terminal: &mut Terminal<'_>,
) -> Result<(), KeygenError> {
    let key = SessionKey::random(&SystemRandomness).to_text();
    if !options.rotate {
        writeln!(terminal.out, "{}", key.as_str())?;
        return Ok(());
    }
    // Warnings are for those who start it, and no secret is needed.
    let (config, _) = Config::load_for_explanation(&options.config, variables)?;
    writeln!(terminal.out, "{}\n", key.as_str())?;
    for (number, step) in (1..).zip(steps(&config, &options.config)) {
        writeln!(terminal.out, "{number}. {step}")?;
    }
    Ok(())
}

/// What to do, one thing after the other.
fn steps(config: &Config, file: &Path) -> Vec<String> {
    let file = file.display();
    let Some(first) = config.key_places.first() else {
        return vec![
            format!(
                "{file} has no session.keys: a fresh key is made at each start, and there is \
                 nothing to rotate."
            ),
            "For a key that lasts, as every store but \"memory\" needs it, set the variable \
             BFF_SESSION_KEY to the key above, where bff gets its environment."
                .to_owned(),
            format!("In [session] of {file} write keys = [\"env:BFF_SESSION_KEY\"] and restart."),
        ];
    };
    let fresh = successor(first, &config.key_places);
    let before: Vec<String> = config.key_places.iter().map(written).collect();
    let before = before.join(", ");
    let new = written(&fresh);
    let is_shared = ["redis", "postgres", "cookie"].contains(&config.store_name);
    let forgets = config.store_name == "memory" && matches!(fresh, KeyPlace::Variable(_));
    let mut steps = vec![put(&fresh, is_shared)];
    if forgets {
        // The process must be started again to see a variable, and its memory is gone then.
        steps.push(format!(
            "In [session] of {file} write keys = [{new}] and restart: with store = \"memory\" a \
             restart ends every session, so the old key has nothing left to open. A key from a \
             \"file:…\" is taken up without a restart."
        ));
        return steps;
    }
    let taken_up = match fresh {
        KeyPlace::Variable(_) => "Restart",
        KeyPlace::File(_) | KeyPlace::Literal => {
            "It is taken up within seconds, without a restart,"
        }
    };
    if is_shared {
        steps.push(format!(
            "On every node write keys = [{before}, {new}] in [session] of {file}. {taken_up} \
             node by node; all can then open what the new key seals, and none seals with it yet."
        ));
        steps.push(format!(
            "When all nodes have it, put it first: keys = [{new}, {before}]. {taken_up} node by \
             node. The first key seals, all open; nobody is signed out."
        ));
    } else {
        steps.push(format!(
            "In [session] of {file} put it first: keys = [{new}, {before}]. {taken_up}{} The \
             first key seals, all open; nobody is signed out.",
            if taken_up == "Restart" {
                "."
            } else {
                " by the process that runs."
            }
        ));
    }
    let longest = config.faces().map(|site| site.session.max_lifetime);
    let lifetime = humantime::format_duration(longest.max().unwrap_or_default());
    steps.push(format!(
        "Wait {lifetime} (session.max_lifetime): whatever the old key sealed has ended by then."
    ));
    steps.push(format!(
        "Write keys = [{new}].{}",
        forget(&config.key_places)
    ));
    steps
}

/// Where the new key goes: beside the first one, and like it.
fn successor(first: &KeyPlace, taken: &[KeyPlace]) -> KeyPlace {
    let candidates = (2..).map(|number| match first {
        KeyPlace::Variable(name) => KeyPlace::Variable(numbered(name, '_', number)),
        KeyPlace::File(path) => KeyPlace::File(match path.rsplit_once('.') {
            Some((stem, extension)) if !extension.contains('/') && !stem.is_empty() => {
                format!("{}.{extension}", numbered(stem, '-', number))
            }
            _ => numbered(path, '-', number),
        }),
        // What stands in the file for all to read is a chance to do better.
        KeyPlace::Literal => KeyPlace::Variable(numbered("BFF_SESSION_KEY", '_', number)),
    });
    let mut candidates = candidates.filter(|place| !taken.contains(place));
    candidates.next().unwrap_or(KeyPlace::Literal)
}

/// `KEY` and `KEY_2` with 3: `KEY_3`.
fn numbered(name: &str, before: char, number: u32) -> String {
    let stem = match name.rsplit_once(before) {
        Some((stem, digits)) if !digits.is_empty() && digits.parse::<u32>().is_ok() => stem,
        _ => name,
    };
    format!("{stem}{before}{number}")
}

/// A place as bff.toml names it.
fn written(place: &KeyPlace) -> String {
    match place {
        KeyPlace::Variable(name) => format!("{:?}", format!("env:{name}")),
        KeyPlace::File(path) => format!("{:?}", format!("file:{path}")),
        KeyPlace::Literal => "(the key that stands there)".to_owned(),
    }
}

fn put(fresh: &KeyPlace, is_shared: bool) -> String {
    let everywhere = if is_shared { ", on every node" } else { "" };
    match fresh {
        KeyPlace::File(path) => format!(
            "Put the key above into a new file, {path}, that bff alone may read{everywhere}. \
             Leave the old one as it is."
        ),
        KeyPlace::Variable(name) => format!(
            "Set the variable {name} to the key above, where bff gets its environment\
             {everywhere}. Leave the old one as it is."
        ),
        KeyPlace::Literal => format!("Keep the key above in a safe place{everywhere}."),
    }
}

/// What is left of the old keys once no configuration names them.
fn forget(old: &[KeyPlace]) -> String {
    let places = old.iter().filter_map(|place| match place {
        KeyPlace::Variable(name) => Some(format!("unset {name}")),
        KeyPlace::File(path) => Some(format!("delete {path}")),
        KeyPlace::Literal => None,
    });
    let places: Vec<String> = places.collect();
    if places.is_empty() {
        return String::new();
    }
    format!(" Then {}.", places.join(", "))
}
