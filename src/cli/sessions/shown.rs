//! A session as a terminal shows it.

use std::io::{self, Write};

use serde::Deserialize;

use super::SHOWN;

/// What the API tells of a session.
#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    id: String,
    tag: Option<String>,
    subject: String,
    name: String,
    /// An older bff says nothing of sites.
    #[serde(default)]
    site: String,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    issuer: Option<String>,
    #[serde(default)]
    client_id: Option<String>,
    provider_sid: Option<String>,
    created_at: String,
    last_seen: String,
    expires_at: String,
    ends_at: String,
    #[serde(default)]
    client: Option<String>,
    browser: Option<String>,
    user_agent: Option<String>,
    token_expires_at: Option<String>,
    acr: Option<String>,
    amr: Vec<String>,
    readable: bool,
}

impl Shown {
    /// All of it, a line each.
    pub(super) fn write(self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", visible(&self.name))?;
        let amr = (!self.amr.is_empty()).then(|| self.amr.join(" "));
        let at = |moment: &str| Some(format!("{} UTC", plain(moment)));
        for (word, fact) in [
            ("id", Some(self.id)),
            ("tag", self.tag),
            ("subject", Some(self.subject)),
            ("site", (!self.site.is_empty()).then_some(self.site)),
            ("tenant", self.tenant),
            ("issuer", self.issuer),
            ("client id", self.client_id),
            ("provider sid", self.provider_sid),
            ("signed in", at(&self.created_at)),
            ("last seen", at(&self.last_seen)),
            ("expires", at(&self.expires_at)),
            ("ends", at(&self.ends_at)),
            ("token until", self.token_expires_at.as_deref().and_then(at)),
            ("client", self.client),
            ("browser", self.browser),
            ("user agent", self.user_agent),
            ("acr", self.acr),
            ("amr", amr),
        ] {
            if let Some(fact) = fact {
                writeln!(out, "  {word:<14}{}", visible(&fact))?;
            }
        }
        if !self.readable {
            let why = "no key in session.keys opens the record; its user has to sign in again";
            writeln!(out, "  {:<14}{why}", "unreadable")?;
        }
        Ok(())
    }
}

/// What stands for the site of bff.toml, which has no name.
pub(super) const MAIN_SITE: &str = "(bff.toml)";

/// A site as people read it.
pub(super) fn place(site: &str, tenant: Option<&str>) -> String {
    let site = if site.is_empty() { MAIN_SITE } else { site };
    match tenant {
        Some(tenant) => visible(&format!("{site}/{tenant}")),
        None => visible(site),
    }
}

/// The column of the site.
const SITE: usize = 3;

/// Sessions, one a line.
pub(super) fn table(sessions: &[Shown], out: &mut dyn Write) -> io::Result<()> {
    let titles = [
        "ID",
        "NAME",
        "SUBJECT",
        "SITE",
        "BROWSER",
        "CLIENT",
        "SIGNED IN",
        "LAST SEEN",
        "EXPIRES",
    ];
    // With one site alone there is nothing to tell apart.
    let site_of = |shown: &Shown| (shown.site.clone(), shown.tenant.clone());
    let mut sites = sessions.iter().map(site_of);
    let first = sites.next();
    let are_many = sites.any(|site| Some(site) != first);
    let mut rows = vec![titles.map(str::to_owned)];
    rows.extend(sessions.iter().map(|shown| {
        let browser = match (&shown.browser, shown.readable) {
            (_, false) => "unreadable",
            (Some(browser), true) => browser,
            (None, true) => "unknown",
        };
        [
            shown.id.get(..SHOWN).unwrap_or(&shown.id).to_owned(),
            shortened(&visible(&shown.name)),
            visible(&shown.subject),
            place(&shown.site, shown.tenant.as_deref()),
            shortened(&visible(browser)),
            visible(shown.client.as_deref().unwrap_or("unknown")),
            plain(&shown.created_at),
            plain(&shown.last_seen),
            plain(&shown.expires_at),
        ]
    }));
    let mut widths = [0; 9];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    for row in &rows {
        let cells = row.iter().zip(widths).enumerate();
        let cells: Vec<String> = cells
            .filter(|(at, _)| are_many || *at != SITE)
            .map(|(_, (cell, width))| format!("{cell:<width$}"))
            .collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// `2026-11-21T09:00:00Z` as people write it.
fn plain(moment: &str) -> String {
    visible(&moment.replace('T', " ").replace('Z', ""))
}

fn shortened(text: &str) -> String {
    const WIDEST: usize = 30;
    if text.chars().count() <= WIDEST {
        return text.to_owned();
    }
    text.chars().take(WIDEST - 1).chain(['…']).collect()
}

/// Text of strangers for a terminal: what would move the cursor, change colours or turn the rest
/// around is made visible.
pub(super) fn visible(text: &str) -> String {
    let unseen = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.replace(unseen, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A user who calls themselves an escape sequence commands nobody's terminal.
    #[test]
    fn names_of_strangers_are_only_text() {
        let hostile = "\u{1b}[2J\u{202e}moc.live\nadmin\u{7f}";
        let shown = visible(hostile);
        assert_eq!(shown, "\u{fffd}[2J\u{fffd}moc.live\u{fffd}admin\u{fffd}");
    }
}
