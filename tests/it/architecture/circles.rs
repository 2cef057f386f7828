//! Files that name each other in a circle: none of them is understood, tested or moved alone.
//!
//! A file may name what the `mod.rs` of its own folder declares, which is the folder's own word for
//! all. A name that a `mod.rs` passes on (`pub use`) is taken for that of the file it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::sources::{Source, sources};

/// Circles that stay, by their first file, each argued in ARCHITECTURE.md; at most two.
const ARGUED: &[&str] = &[];

/// Circles that are to be broken. None is added; one that is gone is taken off.
const TO_BREAK: &[&str] = &[];

#[test]
fn files_name_each_other_in_no_circle() {
    assert!(ARGUED.len() <= 2);
    let sources = sources();
    let circles = circles(&sources);
    let known = || ARGUED.iter().chain(TO_BREAK);
    let named = circles.iter().map(|circle| circle[0].as_str());
    let named: BTreeSet<&str> = named.collect();
    let gone: Vec<_> = known().filter(|first| !named.contains(**first)).collect();
    let new: Vec<_> = circles
        .iter()
        .filter(|circle| !known().any(|first| *first == circle[0]))
        .map(|circle| told(circle, &sources))
        .collect();
    assert!(
        new.is_empty(),
        "files name each other in a circle:\n{}",
        new.join("\n")
    );
    assert!(
        gone.is_empty(),
        "no circle any more, so to be taken off the list: {gone:?}"
    );
}

/// The groups of files of which each leads to each other, in alphabetical order.
pub(super) fn circles(sources: &[Source]) -> Vec<Vec<String>> {
    let named = arrows(sources);
    let reached: BTreeMap<&str, BTreeSet<&str>> = named
        .keys()
        .map(|file| (*file, reach(file, &named)))
        .collect();
    let mut circles = BTreeSet::new();
    for (file, others) in &reached {
        let circle: Vec<String> = others
            .iter()
            .filter(|other| reached[**other].contains(file))
            .map(|other| (*other).to_owned())
            .collect();
        // A file leads to itself only by way of another.
        if circle.len() > 1 {
            circles.insert(circle);
        }
    }
    circles.into_iter().collect()
}

type Arrows<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

fn reach<'a>(from: &str, named: &Arrows<'a>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&str> = named[from].iter().copied().collect();
    while let Some(file) = left.pop() {
        if reached.insert(file) {
            left.extend(named[file].iter().copied());
        }
    }
    reached
}

/// The circle's arrows, for whoever is to break it.
fn told(circle: &[String], sources: &[Source]) -> String {
    let mut told = String::new();
    for (from, to) in arrows(sources) {
        let within = to.iter().filter(|to| circle.iter().any(|file| file == *to));
        let within: Vec<_> = within.copied().collect();
        if circle.iter().any(|file| file == from) && !within.is_empty() {
            writeln!(told, "  {from} names {}", within.join(", ")).unwrap();
        }
    }
    told
}

/// Which files each file names.
fn arrows(sources: &[Source]) -> Arrows<'_> {
    let files: BTreeMap<Vec<&str>, &str> = sources
        .iter()
        .map(|source| (source.module(), source.path.as_str()))
        .collect();
    let passed_on = passed_on(sources, &files);
    let mut arrows = Arrows::new();
    for source in sources {
        let own = source.module();
        let imported = source
            .imports()
            .into_iter()
            .filter(|import| !import.is_passed_on);
        let paths = imported
            .map(|import| import.path)
            .chain(source.inline_paths());
        let named = paths.filter_map(|path| {
            let mut path = absolute(&path, &own, &files)?;
            // A name that was passed on twice has come a long way; more is a fault.
            for _ in 0..4 {
                path = origin(path, &files, &passed_on);
            }
            let file = (1..=path.len()).rev().find_map(|length| {
                let module: Vec<&str> = path[..length].iter().map(String::as_str).collect();
                files.get(&module).map(|file| (module.len(), *file))
            });
            // What the folders above declare is common to all below.
            file.filter(|(length, file)| {
                *file != source.path && !own_folder(&path[..*length], &own)
            })
            .map(|(_, file)| file)
        });
        arrows.insert(&source.path, named.collect());
    }
    arrows
}

fn own_folder(module: &[String], own: &[&str]) -> bool {
    own.len() >= module.len() && module.iter().zip(own).all(|(theirs, ours)| theirs == ours)
}

/// What each module passes on under a name of its own: where that comes from.
fn passed_on(
    sources: &[Source],
    files: &BTreeMap<Vec<&str>, &str>,
) -> BTreeMap<Vec<String>, Vec<String>> {
    let mut passed_on = BTreeMap::new();
    for source in sources {
        let own = source.module();
        for import in source.imports() {
            if import.is_passed_on
                && let Some(from) = absolute(&import.path, &own, files)
                && let Some(name) = import.path.last()
            {
                let mut here: Vec<String> = own.iter().map(|piece| (*piece).to_owned()).collect();
                here.push(name.clone());
                passed_on.insert(here, from);
            }
        }
    }
    passed_on
}

/// Where `path` comes from, if a module passes it on.
fn origin(
    path: Vec<String>,
    files: &BTreeMap<Vec<&str>, &str>,
    passed_on: &BTreeMap<Vec<String>, Vec<String>>,
) -> Vec<String> {
    for length in 1..=path.len() {
        let (name, rest) = path.split_at(length);
        let module: Vec<&str> = name.iter().map(String::as_str).collect();
        if let Some(from) = passed_on.get(name)
            && !files.contains_key(&module)
        {
            return [from.as_slice(), rest].concat();
        }
    }
    path
}

/// The path from the crate's root, where it is one of ours.
fn absolute(
    path: &[String],
    own: &[&str],
    files: &BTreeMap<Vec<&str>, &str>,
) -> Option<Vec<String>> {
    let (first, rest) = path.split_first()?;
    let mut above: Vec<&str> = own.to_vec();
    let mut rest = rest;
    match first.as_str() {
        "crate" => above.clear(),
        "self" => {}
        "super" => {
            above.pop();
            while let Some(("super", more)) = rest
                .split_first()
                .map(|(first, more)| (first.as_str(), more))
            {
                above.pop();
                rest = more;
            }
        }
        child => {
            above.push(child);
            if !files.contains_key(&above) {
                return None;
            }
        }
    }
    let above = above.into_iter().map(str::to_owned);
    Some(above.chain(rest.iter().cloned()).collect())
}

#[test]
fn a_circle_is_found_whichever_way_it_is_named() {
    type Files = &'static [(&'static str, &'static str)];
    let cases: [(&str, Files, &[&str]); 7] = [
        (
            "none",
            &[
                ("a/b.rs", "use crate::a::c::C;\n"),
                ("a/c.rs", "use std::fmt;\n"),
            ],
            &[],
        ),
        (
            "by imports",
            &[
                ("a/b.rs", "use crate::a::c::C;\n"),
                ("a/c.rs", "use super::b::{B, D};\n"),
            ],
            &["a/b.rs", "a/c.rs"],
        ),
        (
            "by a path in the code",
            &[
                ("a/b.rs", "fn f() { crate::a::c::g() }\n"),
                ("a/c.rs", "use super::b::B;\n"),
            ],
            &["a/b.rs", "a/c.rs"],
        ),
        (
            "by a name that is passed on",
            &[
                ("a/b.rs", "use crate::a::C;\n"),
                ("a/c.rs", "use super::b::B;\n"),
                ("a/mod.rs", "mod b;\nmod c;\npub use self::c::C;\n"),
            ],
            &["a/b.rs", "a/c.rs"],
        ),
        (
            "of three",
            &[
                ("a.rs", "use crate::b::B;\n"),
                ("b.rs", "use crate::c::C;\n"),
                ("c.rs", "use crate::a::A;\n"),
            ],
            &["a.rs", "b.rs", "c.rs"],
        ),
        (
            "a folder and its files",
            &[
                ("a/b.rs", "use crate::a::A;\n"),
                ("a/mod.rs", "mod b;\nuse b::B;\n"),
            ],
            &[],
        ),
        (
            "a folder and a stranger",
            &[
                ("a/mod.rs", "use crate::b::B;\n"),
                ("b.rs", "use crate::a::A;\n"),
            ],
            &["a/mod.rs", "b.rs"],
        ),
    ];
    for (name, files, expected) in cases {
        let source = |(path, code): &(&str, &str)| Source {
            path: (*path).to_owned(),
            code: (*code).to_owned(),
        };
        let sources: Vec<Source> = files.iter().map(source).collect();
        assert_eq!(circles(&sources).concat(), expected, "{name}");
    }
}
