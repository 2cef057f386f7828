//! Holds docs/rules.md: whatever the code cites has its sentence there, whatever stands there has
//! tests or a reason to have none, and the tests that are named exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// docs/rules.md, taken apart.
struct Rules {
    /// The codes that have a sentence: `A1`, `§4`.
    sentences: BTreeSet<String>,
    /// The cell of tests of each code.
    tests: BTreeMap<String, String>,
    /// The codes that may lack tests, for a reason that is given.
    reasons: BTreeSet<String>,
}

#[test]
fn whatever_is_cited_has_a_sentence() {
    let rules = Rules::read();
    let mut unsaid = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        for (at, line) in text.lines().enumerate() {
            for code in cited(line) {
                if !rules.sentences.contains(&code) {
                    unsaid.push(format!("{}:{}: {code}", file.display(), at + 1));
                }
            }
        }
    }
    assert!(
        unsaid.is_empty(),
        "no sentence in docs/rules.md:\n{unsaid:#?}"
    );
}

#[test]
fn every_rule_has_tests_or_a_reason() {
    let rules = Rules::read();
    let told: BTreeSet<&String> = rules.tests.keys().chain(&rules.reasons).collect();
    let has_neither: Vec<_> = rules
        .sentences
        .iter()
        .filter(|code| !told.contains(code))
        .collect();
    assert!(
        has_neither.is_empty(),
        "neither tests nor a reason: {has_neither:?}"
    );
    let unsaid: Vec<_> = told
        .iter()
        .filter(|code| !rules.sentences.contains(**code))
        .collect();
    assert!(
        unsaid.is_empty(),
        "in a table of docs/rules.md without a sentence: {unsaid:?}"
    );
}

#[test]
fn every_test_that_the_table_names_exists() {
    let mut missing = Vec::new();
    for (code, cell) in &Rules::read().tests {
        for file in cell.split("; ") {
            let (file, names) = file.split_once(' ').unwrap();
            let folder = if file.starts_with("src/") {
                ""
            } else {
                "tests/it/"
            };
            let text = fs::read_to_string(root().join(folder).join(file)).unwrap_or_default();
            for name in names.split(", ").map(|name| name.trim_matches('`')) {
                if !text.contains(&format!("fn {name}(")) {
                    missing.push(format!("{code}: {file} {name}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// The reader itself, on lines made up.
#[test]
fn a_citation_is_told_from_what_looks_like_one() {
    let cases: [(&str, &[&str]); 7] = [
        ("/// A5, J18: what it says.", &["A5", "J18"]),
        (
            "    let x = 1; // as I3 wants (C1\u{2013}C6)",
            &["I3", "C1", "C6"],
        ),
        ("//! The rest is DESIGN §4, DESIGN §2.", &["§4", "§2"]),
        ("let key = \"A5\";", &[]),
        ("let url = \"https://x/%C3%A4\";", &[]),
        ("// RFC 9700 §4.8, Core §3.1.2.1", &[]),
        ("// HTTP2, E0, X5, A100, B2B", &[]),
    ];
    for (line, expected) in cases {
        assert_eq!(cited(line), expected, "{line}");
    }
}

impl Rules {
    fn read() -> Self {
        let text = fs::read_to_string(root().join("docs/rules.md")).unwrap();
        let mut rules = Self {
            sentences: BTreeSet::new(),
            tests: BTreeMap::new(),
            reasons: BTreeSet::new(),
        };
        for line in text.lines() {
            if let Some((code, _)) = line
                .strip_prefix("- **")
                .and_then(|rest| rest.split_once("** "))
            {
                assert!(
                    rules.sentences.insert(code.to_owned()),
                    "{code} stands twice"
                );
            }
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let ["", codes, cell, ""] = cells.as_slice() else {
                continue;
            };
            if cell.contains(".rs `") {
                let before = rules.tests.insert((*codes).to_owned(), (*cell).to_owned());
                assert!(before.is_none(), "{codes} stands twice in the table");
            } else if is_code(codes.split('–').next().unwrap()) {
                rules.reasons.extend(range(codes));
            }
        }
        assert!(rules.tests.len() > 100, "the table was not found");
        rules
    }
}

/// `A11–A16` is six codes, `D19` is one.
fn range(codes: &str) -> Vec<String> {
    let Some((first, last)) = codes.split_once('–') else {
        return vec![codes.to_owned()];
    };
    let (section, from) = first.split_at(1);
    let to = last.strip_prefix(section).unwrap();
    let numbers = from.parse::<u8>().unwrap()..=to.parse().unwrap();
    numbers.map(|number| format!("{section}{number}")).collect()
}

/// The codes that the comment of a line cites, in its order.
fn cited(line: &str) -> Vec<String> {
    // `https://` in a string is no comment.
    let comments = line.match_indices("//").map(|(at, _)| at);
    let Some(at) = comments.into_iter().find(|at| !line[..*at].ends_with(':')) else {
        return Vec::new();
    };
    let comment = &line[at..];
    let mut found: Vec<(usize, String)> = Vec::new();
    for (at, _) in comment.match_indices("DESIGN §") {
        let rest = &comment[at + "DESIGN §".len()..];
        let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
        found.push((at, format!("§{number}")));
    }
    let mut at = 0;
    for word in comment.split(|c: char| !c.is_alphanumeric() && c != '_') {
        if is_code(word) {
            found.push((at, word.to_owned()));
        }
        at += word.len()
            + comment[at + word.len()..]
                .chars()
                .next()
                .map_or(0, char::len_utf8);
    }
    found.sort();
    found.into_iter().map(|(_, code)| code).collect()
}

/// The letter of a section and a number of at most two digits, or a section of the design, `§4`.
fn is_code(word: &str) -> bool {
    let mut chars = word.chars();
    let section = chars.next();
    let number = chars.as_str();
    section.is_some_and(|section| matches!(section, 'A'..='N' | '§'))
        && (1..=2).contains(&number.len())
        && number.bytes().all(|digit| digit.is_ascii_digit())
        && !number.starts_with('0')
}

/// Every source and test in Rust.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root().join("src"), root().join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.extend((!path.ends_with("node_modules")).then_some(path));
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    assert!(files.len() > 100, "the sources were not found");
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
