//! The sources as text, without comments and without their unit tests.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file: where it is under `src`, and its code.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) code: String,
}

impl Source {
    /// The part it belongs to: the folder or file right under `src`.
    pub(super) fn part(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// Whether `word` stands there as a word of its own.
    pub(super) fn says(&self, word: &str) -> bool {
        self.code.match_indices(word).any(|(at, _)| {
            let before = self.code[..at].chars().next_back();
            let after = self.code[at + word.len()..].chars().next();
            !before.is_some_and(is_of_a_name) && !after.is_some_and(is_of_a_name)
        })
    }

    /// The module that the file is: `proxy/headers/mod.rs` is `["proxy", "headers"]`.
    pub(super) fn module(&self) -> Vec<&str> {
        let path = self.path.trim_end_matches(".rs");
        let path = path.strip_suffix("/mod").unwrap_or(path);
        let path = if path == "lib" { "" } else { path };
        path.split('/').filter(|piece| !piece.is_empty()).collect()
    }

    /// The parts that it names, by `use crate::x` or `crate::x`.
    pub(super) fn names(&self) -> Vec<String> {
        let imported = self.imports().into_iter().map(|import| import.path);
        let paths = imported.chain(self.inline_paths());
        let of_the_crate = paths.filter(|path| path[0] == "crate");
        let mut names: Vec<String> = of_the_crate
            .filter_map(|path| path.get(1).cloned())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What its `use` lines name, each item by its whole path, as written: `super::route::Route`.
    pub(super) fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for statement in self.statements() {
            if let Some((is_passed_on, tree)) = as_import(&statement) {
                for path in leaves(tree) {
                    imports.push(Import { path, is_passed_on });
                }
            }
        }
        imports
    }

    /// The paths that its code names beside its imports: `crate::clock::Clock`.
    pub(super) fn inline_paths(&self) -> Vec<Vec<String>> {
        let mut paths = Vec::new();
        for line in self.statements() {
            if as_import(&line).is_some() {
                continue;
            }
            for root in ["crate::", "super::", "self::"] {
                for (at, _) in line.match_indices(root) {
                    let before = line[..at].chars().next_back();
                    if !before.is_some_and(is_of_a_path) {
                        let path = line[at..].chars().take_while(|c| is_of_a_path(*c));
                        paths.push(pieces(&path.collect::<String>()));
                    }
                }
            }
        }
        paths
    }

    /// The lines, those of one import joined.
    fn statements(&self) -> Vec<String> {
        let mut statements: Vec<String> = Vec::new();
        for line in self.code.lines() {
            match statements.last_mut() {
                Some(last) if as_import(last).is_some() && !last.trim_end().ends_with(';') => {
                    last.push_str(line.trim());
                }
                _ => statements.push(line.to_owned()),
            }
        }
        statements
    }
}

/// Whether a line begins an import, whether that is passed on, and what it names.
fn as_import(line: &str) -> Option<(bool, &str)> {
    let (visibility, tree) = line.trim().split_once("use ")?;
    let is_import = visibility.is_empty() || visibility.starts_with("pub");
    is_import.then_some((!visibility.is_empty(), tree.trim_end_matches(';')))
}

/// One item of a `use` line.
pub(super) struct Import {
    pub(super) path: Vec<String>,
    /// `pub use`: under this file's name for others.
    pub(super) is_passed_on: bool,
}

/// All sources of the product; folders and files of tests are left out.
pub(super) fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    assert!(files.len() > 20, "the sources were not found");
    let read = |file: PathBuf| Source {
        path: file
            .strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned(),
        code: strip(&fs::read_to_string(&file).unwrap()),
    };
    files.into_iter().map(read).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // A folder of tests, or a file of them, beside the code it tests.
        if path.is_dir() && !path.ends_with("tests") {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_name().is_none_or(|name| name != "tests.rs")
        {
            files.push(path);
        }
    }
}

/// The code without comments, and without what is built for tests alone, wherever that stands.
pub(super) fn strip(text: &str) -> String {
    let mut code = String::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let indent = &line[..line.len() - line.trim_start().len()];
        if line.trim_start().starts_with("#[cfg(test)]") {
            skip_item(&mut lines, indent);
            continue;
        }
        let without_comment = match line.find("//") {
            // `https://` in a string is no comment.
            Some(at) if !line[..at].ends_with(':') => &line[..at],
            _ => line,
        };
        code.push_str(without_comment);
        code.push('\n');
    }
    code
}

/// Goes past the item that begins here, which is formatted as rustfmt does.
fn skip_item(lines: &mut std::str::Lines<'_>, indent: &str) {
    for line in lines {
        let is_of_its_level = line
            .strip_prefix(indent)
            .is_some_and(|rest| !rest.starts_with([' ', '#', '/']));
        if is_of_its_level && line.ends_with(['}', ';']) {
            return;
        }
    }
}

/// The items of `a::{b, c::{d, e}}`, each by its whole path.
fn leaves(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some((before, list)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap();
        return vec![pieces(path)];
    };
    let before = pieces(before);
    let list = list.trim_end_matches(';').strip_suffix('}').unwrap_or(list);
    let mut all = Vec::new();
    for item in split_at_top(list) {
        for leaf in leaves(item) {
            all.push([before.clone(), leaf].concat());
        }
    }
    all
}

/// The items of a list, cut at the commas outside of braces.
fn split_at_top(list: &str) -> Vec<&str> {
    let mut depth = 0;
    let cut = |c: char| {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    };
    let items = list.split(cut).map(str::trim);
    items.filter(|item| !item.is_empty()).collect()
}

fn pieces(path: &str) -> Vec<String> {
    let pieces = path.split("::").map(str::trim);
    pieces
        .filter(|piece| !piece.is_empty())
        .map(str::to_owned)
        .collect()
}

fn is_of_a_path(c: char) -> bool {
    is_of_a_name(c) || c == ':'
}

fn is_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[test]
fn tests_are_left_out_and_what_follows_them_is_read() {
    let text = "//! Why.\nmod a;\n#[cfg(test)]\nmod tests;\nuse x::Y; // the y\n#[cfg(test)]\n\
                pub(super) mod tests {\n    fn f() {\n    }\n}\n#[cfg(test)]\n#[derive(Debug)]\n\
                struct S {\n    a: u8,\n}\nimpl A {\n    #[cfg(test)]\n    fn b(\n        c: u8,\n    ) {\n    }\n\
                \x20   fn d() {}\n}\nlet url = \"https://x\";\n";
    let expected = "\nmod a;\nuse x::Y; \nimpl A {\n    fn d() {}\n}\nlet url = \"https://x\";\n";
    assert_eq!(strip(text), expected);
}

#[test]
fn imports_are_taken_apart() {
    let source = Source {
        path: "proxy/headers/mod.rs".to_owned(),
        code: "use crate::{clock::Clock, oidc::{\n    Provider, jwks as keys,\n}, web};\n\
               pub(crate) use self::route::Route;\nlet x = crate::secret::Token::new(super::y());\n\
               let because = 1;\n"
            .to_owned(),
    };
    let imports: Vec<_> = source
        .imports()
        .iter()
        .map(|import| (import.path.join("::"), import.is_passed_on))
        .collect();
    let imports: Vec<_> = imports
        .iter()
        .map(|(path, passed_on)| (path.as_str(), *passed_on))
        .collect();
    assert_eq!(
        imports,
        [
            ("crate::clock::Clock", false),
            ("crate::oidc::Provider", false),
            ("crate::oidc::jwks", false),
            ("crate::web", false),
            ("self::route::Route", true),
        ]
    );
    let inline = source.inline_paths();
    assert!(
        inline.contains(&pieces("crate::secret::Token::new")),
        "{inline:?}"
    );
    assert!(inline.contains(&pieces("super::y")), "{inline:?}");
    assert_eq!(source.module(), ["proxy", "headers"]);
}
