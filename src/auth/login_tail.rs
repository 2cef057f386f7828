//! The end of what is sealed of a login: what not every login has, so that nodes of a release before read
//! those that have it not.
//!
//! One field is what the answer's `acr` must be one of, two are whose login it is, three are both, and a
//! fourth is the key that its tokens are to be bound to; what is not to be said before that is empty.

use std::sync::Arc;

use crate::secret::ProofKey;
use crate::session::seal::{FieldReader, FieldWriter};
use crate::web::proof::Prover;
use crate::web::registration::Registration;

/// What [`with_tail`] added.
#[derive(Debug, Default)]
pub(in crate::auth) struct Tail {
    /// Whose login it is, where that is said.
    pub(in crate::auth) registration: Option<Registration>,
    /// One of these must be the answer's context, where there are any.
    pub(in crate::auth) essential_acr: Vec<String>,
    /// What its tokens are to be bound to.
    pub(in crate::auth) prover: Option<Arc<Prover>>,
}

/// Adds whose login it is, where that is to be said, the contexts of which one must be the answer's, and the
/// key.
pub(in crate::auth) fn with_tail(
    mut fields: FieldWriter,
    registration: Option<&Registration>,
    essential_acr: &[String],
    prover: Option<&Prover>,
) -> FieldWriter {
    let acr = essential_acr.join(" ");
    if let Some(prover) = prover {
        let (issuer, client_id) = match registration {
            Some(of) => (&*of.issuer, &*of.client_id),
            None => ("", ""),
        };
        let said = fields.text(issuer).text(client_id).text(&acr);
        return said.proof_key(prover);
    }
    if let Some(of) = registration {
        fields = fields.text(&of.issuer).text(&of.client_id);
    }
    if acr.is_empty() {
        fields
    } else {
        fields.text(&acr)
    }
}

/// What [`with_tail`] added; `None` where it is nothing of that.
pub(in crate::auth) fn read_tail(fields: &mut FieldReader<'_>) -> Option<Tail> {
    let mut said = Vec::new();
    while !fields.is_empty() {
        said.push(fields.bytes()?);
    }
    let text = |bytes| std::str::from_utf8(bytes).ok();
    let words = |bytes| {
        let words = text(bytes)?.split_ascii_whitespace();
        Some(words.map(str::to_owned).collect())
    };
    let of = |issuer, client_id| Some(Registration::new(text(issuer)?, text(client_id)?));
    Some(match said.as_slice() {
        [] => Tail::default(),
        [acr] => Tail {
            essential_acr: words(acr)?,
            ..Tail::default()
        },
        [issuer, client_id] => Tail {
            registration: Some(of(issuer, client_id)?),
            ..Tail::default()
        },
        [issuer, client_id, acr, key @ ..] if key.len() <= 1 => Tail {
            registration: match issuer {
                [] => None,
                issuer => Some(of(issuer, client_id)?),
            },
            essential_acr: words(acr)?,
            prover: key
                .first()
                .map(|key| Arc::new(Prover::of(ProofKey::new(key)))),
        },
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
        let key = Prover::fresh().unwrap();
        for registration in [None, Some(&of)] {
            for acr in [&acr[..0], &acr] {
                for prover in [None, Some(&key)] {
                    let fields = with_tail(FieldWriter::default(), registration, acr, prover);
                    let read = read_tail(&mut FieldReader::new(fields.finish())).unwrap();
                    assert_eq!(read.registration.as_ref(), registration);
                    assert_eq!(read.essential_acr, acr);
                    let thumbprint = read.prover.as_ref().and_then(|read| read.thumbprint());
                    assert_eq!(thumbprint, prover.and_then(Prover::thumbprint));
                }
            }
        }
        let texts = |count: usize| {
            let texts = std::iter::repeat_n("", count);
            texts.fold(FieldWriter::default(), FieldWriter::text)
        };
        assert!(read_tail(&mut FieldReader::new(texts(5).finish())).is_none());
    }
}
