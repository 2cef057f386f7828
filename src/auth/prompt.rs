//! Whether a login may ask the user, and what it is shown in.

/// Whether the user may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prompt {
    /// The provider may show pages.
    Allowed,
    /// `prompt=none`: the provider answers at once, one way or the other.
    None,
}

/// What a login is shown in, which says how it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// A tab, which goes on to its place.
    Tab,
    /// A window of its own (`mode=popup`), which tells the page that opened it and closes.
    Popup,
}

impl Prompt {
    /// Both in one number, as they are sealed. A node of the release before knows 1 alone, and takes
    /// the rest for a login that may ask, in a tab.
    pub(in crate::auth) fn and(self, window: Window) -> i64 {
        i64::from(self == Self::None) + 2 * i64::from(window == Window::Popup)
    }

    /// What [`and`](Self::and) made a number of.
    pub(in crate::auth) fn and_window(number: i64) -> (Self, Window) {
        let prompt = if number & 1 == 1 {
            Self::None
        } else {
            Self::Allowed
        };
        let window = if number & 2 == 2 {
            Window::Popup
        } else {
            Window::Tab
        };
        (prompt, window)
    }
}
