//! The end of what is sealed of a login: what not every login has, so that nodes of a release before read
//! those that have it not.
//!
//! One text is what the answer's `acr` must be one of, two are whose login it is, three are both.

use crate::session::seal::{FieldReader, FieldWriter};
use crate::web::registration::Registration;

/// Adds whose login it is, where that is to be said, and the contexts of which one must be the answer's.
pub(in crate::auth) fn with_tail(
    mut fields: FieldWriter,
    registration: Option<&Registration>,
    essential_acr: &[String],
) -> FieldWriter {
    if let Some(of) = registration {
        fields = fields.text(&of.issuer).text(&of.client_id);
    }
    if essential_acr.is_empty() {
        fields
    } else {
        fields.text(&essential_acr.join(" "))
    }
}

/// What [`with_tail`] added; `None` where it is nothing of that.
pub(in crate::auth) fn read_tail(
    fields: &mut FieldReader<'_>,
) -> Option<(Option<Registration>, Vec<String>)> {
    let mut texts = Vec::new();
    while !fields.is_empty() {
        texts.push(fields.text()?);
    }
    let words = |text: &str| text.split(' ').map(str::to_owned).collect();
    Some(match texts.as_slice() {
        [] => (None, Vec::new()),
        [acr] => (None, words(acr)),
        [issuer, client_id] => (Some(Registration::new(issuer, client_id)), Vec::new()),
        [issuer, client_id, acr] => (Some(Registration::new(issuer, client_id)), words(acr)),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_read() {
        let of = Registration::new("https://corp", "app");
        let acr = ["gold".to_owned(), "silver".to_owned()];
        for registration in [None, Some(&of)] {
            for acr in [&acr[..0], &acr] {
                let fields = with_tail(FieldWriter::default(), registration, acr);
                let read = read_tail(&mut FieldReader::new(fields.finish())).unwrap();
                assert_eq!((read.0.as_ref(), &*read.1), (registration, acr));
            }
        }
        let four = FieldWriter::default().text("").text("").text("").text("");
        assert!(read_tail(&mut FieldReader::new(four.finish())).is_none());
    }
}
