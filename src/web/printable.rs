//! Text from files and from strangers, as a terminal may be shown it.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` in one line, in which nothing moves the cursor, colours, or turns what follows around. A character
/// that would is written as JSON escapes it, so that what was JSON still is.
pub fn on_one_line(text: &str) -> Cow<'_, str> {
    escaped(text, is_unseen)
}

/// As [`on_one_line`], of text that has lines and columns of its own.
pub fn in_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |char| is_unseen(char) && !matches!(char, '\n' | '\t'))
}

/// As in `19,990`.
pub fn with_commas(count: usize) -> String {
    let digits = count.to_string();
    let mut said = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            said.push(',');
        }
        said.push(digit);
    }
    said
}

fn escaped(text: &str, is_unseen: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for char in text.chars() {
        if is_unseen(char) {
            // Text takes whatever is written to it.
            _ = write!(escaped, "\\u{:04x}", u32::from(char));
        } else {
            escaped.push(char);
        }
    }
    Cow::Owned(escaped)
}

/// Control characters, and those that turn the direction of what follows or end a line.
fn is_unseen(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What could fool whoever reads a terminal is seen, and all else is as it was.
    #[test]
    fn what_moves_a_terminal_is_seen() {
        for (text, line, lines) in [
            ("shop", "shop", "shop"),
            ("Bücher 日本 👋", "Bücher 日本 👋", "Bücher 日本 👋"),
            ("a\u{1b}[31mb", "a\\u001b[31mb", "a\\u001b[31mb"),
            ("a\nb\tc\r", "a\\u000ab\\u0009c\\u000d", "a\nb\tc\\u000d"),
            ("\u{7f}\u{9b}2J", "\\u007f\\u009b2J", "\\u007f\\u009b2J"),
            ("x\u{202e}y", "x\\u202ey", "x\\u202ey"),
        ] {
            assert_eq!(on_one_line(text), line, "{text:?}");
            assert_eq!(in_lines(text), lines, "{text:?}");
        }
    }
}
