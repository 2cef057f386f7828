//! Where a command writes, and what of names and words from elsewhere is shown there.

use std::io::{self, Write};

use crate::web::printable;

/// Where a command writes.
pub struct Terminal<'a> {
    /// What was asked for.
    pub out: &'a mut dyn Write,
    /// What went wrong or is unwise.
    pub err: &'a mut dyn Write,
}

impl std::fmt::Debug for Terminal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Terminal")
    }
}

/// Passes text on in which nothing commands a terminal: most of what is printed holds a name that somebody
/// chose, of a tenant, a file or a browser. Whoever prints gives it whole pieces of text.
pub(super) struct Printable<'a>(pub(super) &'a mut dyn Write);

impl Write for Printable<'_> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let read = String::from_utf8_lossy(text);
        self.0.write_all(printable::in_lines(&read).as_bytes())?;
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
