//! How large the house is: what a reader has to hold in the head at once.
//!
//! `cargo test --test it the_figures_of_the_house -- --nocapture` prints them.

use super::circles::circles;
use super::sources::{Source, sources};

/// Lines of a file, its tests aside; past 350 look for a second reason to change.
const LONGEST_FILE: usize = 500;
/// Lines of a function, from its name to its last brace.
const LONGEST_FUNCTION: usize = 110;
/// Of a hundred functions ninety-nine are no longer than this.
const LONG_FUNCTION: usize = 62;

/// Files that are longer. None is added; one that is no longer so is taken off.
const LONG_FILES: &[&str] = &[];

/// Functions that are longer, as `file name`; as above.
const LONG_FUNCTIONS: &[&str] = &[];

#[test]
fn the_figures_of_the_house() {
    let sources = sources();
    let files: Vec<(usize, String)> = sources
        .iter()
        .map(|source| (source.code.lines().count(), source.path.clone()))
        .collect();
    let functions: Vec<(usize, String)> = sources.iter().flat_map(functions).collect();
    let mut lengths: Vec<usize> = functions.iter().map(|(lines, _)| *lines).collect();
    lengths.sort_unstable();
    let p99 = lengths[lengths.len() * 99 / 100];
    let (longest, which) = functions.iter().max().unwrap();
    println!(
        "{} functions: p99 {p99} lines, longest {longest} ({which})",
        functions.len()
    );
    let (longest, which) = files.iter().max().unwrap();
    let over = files
        .iter()
        .filter(|(lines, _)| *lines > LONGEST_FILE)
        .count();
    println!(
        "{} files: {over} over {LONGEST_FILE} lines, longest {longest} ({which})",
        files.len()
    );
    println!("{} circles of files", circles(&sources).len());
    check(&files, LONGEST_FILE, LONG_FILES);
    check(&functions, LONGEST_FUNCTION, LONG_FUNCTIONS);
    assert!(p99 <= LONG_FUNCTION, "functions grow: p99 is {p99} lines");
}

fn check(found: &[(usize, String)], most: usize, excepted: &[&str]) {
    let is_excepted = |name: &String| excepted.contains(&name.as_str());
    let long: Vec<&(usize, String)> = found.iter().filter(|(lines, _)| *lines > most).collect();
    let new: Vec<_> = long.iter().filter(|(_, name)| !is_excepted(name)).collect();
    assert!(new.is_empty(), "longer than {most} lines: {new:#?}");
    let is_long = |name: &&&str| long.iter().any(|(_, long)| long == **name);
    let gone: Vec<_> = excepted.iter().filter(|name| !is_long(name)).collect();
    assert!(
        gone.is_empty(),
        "short enough now, so to be taken off the list: {gone:?}"
    );
}

/// The functions of a file, formatted as rustfmt does, and their lines.
fn functions(source: &Source) -> Vec<(usize, String)> {
    let lines: Vec<&str> = source.code.lines().collect();
    let mut functions = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = name_of_function(line) else {
            continue;
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = |line: &&str| {
            let rest = line.strip_prefix(indent);
            rest.is_some_and(|rest| !rest.starts_with(' ') && rest.ends_with(['}', ';']))
        };
        let length = lines[at..].iter().position(ends).map_or(1, |last| last + 1);
        functions.push((length, format!("{} {name}", source.path)));
    }
    functions
}

fn name_of_function(line: &str) -> Option<&str> {
    let (before, after) = line.trim_start().split_once("fn ")?;
    let is_modifier =
        |word: &str| ["const", "async", "unsafe"].contains(&word) || word.starts_with("pub");
    // `pub(in crate::auth)` has a blank in it.
    let before = before.replace("(in ", "(");
    let name = after
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()?;
    (before.split_whitespace().all(is_modifier) && !name.is_empty()).then_some(name)
}

#[test]
fn functions_are_measured_whole() {
    let source = Source {
        path: "a.rs".to_owned(),
        code: "fn a() {}\npub(in crate::b) async fn b(\n    c: u8,\n) -> u8 {\n    c\n}\nimpl X {\n    \
               const fn d(&self) {\n        e();\n    }\n    fn f(&self);\n}\nlet x: fn (u8);\n"
            .to_owned(),
    };
    let expected = [(1, "a.rs a"), (5, "a.rs b"), (3, "a.rs d"), (1, "a.rs f")];
    let expected = expected.map(|(lines, name)| (lines, name.to_owned()));
    assert_eq!(functions(&source), expected);
}
