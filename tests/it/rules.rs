//! The table of rules in CONTRIBUTING.md names tests that exist, and no rule twice; each has its
//! sentence in docs/rules.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_test_that_the_table_of_rules_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let mut rules = BTreeSet::new();
    let mut missing = Vec::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let ["", rule, tests, ""] = cells.as_slice() else {
            continue;
        };
        if !tests.contains(".rs `") {
            continue;
        }
        assert!(rules.insert((*rule).to_owned()), "{rule} stands twice");
        for file in tests.split("; ") {
            let (file, names) = file.split_once(' ').unwrap();
            let folder = if file.starts_with("src/") {
                ""
            } else {
                "tests/it/"
            };
            let code = fs::read_to_string(root.join(folder).join(file)).unwrap_or_default();
            for name in names.split(", ").map(|name| name.trim_matches('`')) {
                if !code.contains(&format!("fn {name}(")) {
                    missing.push(format!("{rule}: {file} {name}"));
                }
            }
        }
    }
    assert!(rules.len() > 100, "the table was not found");
    let sentences = fs::read_to_string(root.join("docs/rules.md")).unwrap();
    let has_none = |rule: &&String| !sentences.contains(&format!("\n- **{rule}** "));
    let unsaid: Vec<_> = rules.iter().filter(has_none).collect();
    assert!(
        unsaid.is_empty(),
        "no sentence in docs/rules.md: {unsaid:?}"
    );
    assert!(missing.is_empty(), "{missing:#?}");
}
