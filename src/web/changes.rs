//! What is told of many that may each be another than before: sites, tenants.

/// Which of them there are now and were not, were and are not, and say something else than they did.
#[derive(Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the struct says what they are")]
pub struct Changes {
    pub came: Vec<String>,
    pub went: Vec<String>,
    pub changed: Vec<String>,
}

impl Changes {
    /// As many names as somebody reads.
    const MOST: usize = 10;

    /// How many, and the first of them, as in `2 came (a, b), 1 went (c)`; `None` where all are as they were.
    pub fn sentence(&self) -> Option<String> {
        let kinds = [
            (&self.came, "came"),
            (&self.went, "went"),
            (&self.changed, "changed"),
        ];
        let some = kinds.into_iter().filter(|(names, _)| !names.is_empty());
        let said = some.map(|(names, what)| {
            let first: Vec<&str> = names.iter().take(Self::MOST).map(String::as_str).collect();
            let more = if names.len() > Self::MOST {
                ", …"
            } else {
                ""
            };
            format!("{} {what} ({}{more})", names.len(), first.join(", "))
        });
        let said: Vec<String> = said.collect();
        (!said.is_empty()).then(|| said.join(", "))
    }
}
