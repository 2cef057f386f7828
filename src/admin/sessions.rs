//! `/api/sessions`: who is signed in, and how to end it.

use std::cmp::Reverse;

use http::{Response, StatusCode};
use serde_json::{Value, json};

use super::filter::{Asked, Ending, Filter, Place, Sort};
use super::refusal::Refusal;
use super::{answer, json_answer};
use crate::clock::Timestamp;
use crate::session::id::SessionHash;
use crate::session::journal::End;
use crate::session::record::Session;
use crate::session::store::{Cursor, Listed, Recency, SiteFilter, StoreError};
use crate::session::{Everywhere, KnownUser};
use crate::web::body::Body;
use crate::web::ending::EndReason;
use crate::web::user_agent;

/// The sessions, as an administrator may see and end them.
#[derive(Debug, Clone)]
pub(super) struct Administered<'a> {
    pub(super) sessions: Everywhere,
    /// Whose doing it is.
    pub(super) by: Hand<'a>,
}

/// An administrator at work.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hand<'a> {
    pub(super) name: &'a str,
    pub(super) request_id: &'a str,
}

impl Hand<'_> {
    /// An end that is their doing.
    const fn end(&self) -> End<'_> {
        End {
            reason: EndReason::Revoked,
            by: Some(self.name),
            request_id: Some(self.request_id),
            spares_tokens: false,
        }
    }
}

/// Pages that are looked at for one that is not empty.
const LOOKS: usize = 32;

impl Administered<'_> {
    /// `GET /api/sessions`.
    pub(super) async fn list(self, asked: Asked) -> Result<Response<Body>, Refusal> {
        self.has_list()?;
        let page = self.at(asked.site.clone()).page(asked).await?;
        let shown: Vec<Value> = page.listed.iter().map(shown).collect();
        let next = page.next.map(|place| place.write());
        let body = json!({ "sessions": shown, "next": next });
        Ok(json_answer(StatusCode::OK, &body))
    }

    /// `GET /api/sessions/{id}`.
    pub(super) async fn show(&self, id: &str) -> Result<Response<Body>, Refusal> {
        let listed = self.find(id).await?;
        Ok(json_answer(StatusCode::OK, &shown(&listed)))
    }

    /// `DELETE /api/sessions/{id}`.
    pub(super) async fn end(&self, id: &str) -> Result<Response<Body>, Refusal> {
        let listed = self.find(id).await?;
        if self.end_one(&listed).await? {
            Ok(answer(StatusCode::NO_CONTENT, None, Body::Empty))
        } else {
            Err(Refusal::NoSuchSession)
        }
    }

    /// `DELETE /api/sessions?…`.
    pub(super) async fn end_all(self, ending: Ending) -> Result<Response<Body>, Refusal> {
        self.has_list()?;
        let ended = match ending {
            Ending::OfSubject(subject, site) => self.at(site).end_subject(&subject).await?,
            Ending::OfSite(site) => self.at(Some(site)).end_these().await?,
        };
        Ok(json_answer(StatusCode::OK, &json!({ "ended": ended })))
    }

    /// Those at these sites alone.
    fn at(self, site: Option<SiteFilter>) -> Self {
        Self {
            sessions: self.sessions.at(site),
            ..self
        }
    }

    async fn end_subject(&self, subject: &str) -> Result<usize, StoreError> {
        let mut ended = 0;
        for listed in self.sessions.of_subject(subject).await? {
            ended += usize::from(self.end_one(&listed).await?);
        }
        Ok(ended)
    }

    /// There may be many. Whoever asked for it may go away meanwhile, and they end all the same.
    async fn end_these(self) -> Result<usize, Refusal> {
        let sessions = self.sessions;
        let (name, request_id) = (self.by.name.to_owned(), self.by.request_id.to_owned());
        let ending = tokio::spawn(async move {
            let by = Hand {
                name: &name,
                request_id: &request_id,
            };
            sessions.end_all(by.end()).await
        });
        let ended = ending.await.map_err(|_| Refusal::BrokeOff)?;
        Ok(ended?)
    }

    /// Whether this ended it.
    async fn end_one(&self, listed: &Listed) -> Result<bool, StoreError> {
        let (hash, end) = (&listed.hash, self.by.end());
        let ended = self.sessions.end(hash, end).await?;
        // A record that does not open comes back to nobody, whoever ended it.
        let is_over = ended.is_some() || listed.session.is_none();
        if ended.is_none() && is_over {
            let journal = self.sessions.journal();
            journal.ended_unread(listed, end);
        }
        Ok(is_over)
    }

    async fn find(&self, id: &str) -> Result<Listed, Refusal> {
        self.has_list()?;
        let hash = SessionHash::from_hex(id).ok_or(Refusal::NoSuchSession)?;
        let listed = self.sessions.look_up(&hash).await?;
        listed.ok_or(Refusal::NoSuchSession)
    }

    fn has_list(&self) -> Result<(), Refusal> {
        match self.sessions.store_kind() {
            "cookie" => Err(Refusal::NoSessionList),
            _ => Ok(()),
        }
    }

    async fn page(&self, asked: Asked) -> Result<Page, StoreError> {
        let Asked {
            filter,
            sort,
            limit,
            after,
            ..
        } = asked;
        let mut page = match (sort, after) {
            // A search is in the order of its own pages, below.
            (Sort::LastSeen, after) if filter.is_all() => {
                let after = match after {
                    Some(Place::Recent(place)) => Some(place),
                    _ => None,
                };
                return self.latest(after, limit).await;
            }
            (_, after) => self.searched(&filter, limit, after).await?,
        };
        if sort == Sort::LastSeen {
            page.listed.sort_by_key(|one| Reverse(one.times.seen));
        }
        Ok(page)
    }

    /// Those used last.
    async fn latest(&self, after: Option<Recency>, limit: usize) -> Result<Page, StoreError> {
        let mut page = Page::default();
        let mut after = after;
        for _ in 0..LOOKS {
            let (listed, next) = self.sessions.latest(after, limit).await?;
            page.listed = listed;
            page.next = next.map(Place::Recent);
            after = next;
            // All that were looked at may have run into their limit.
            if after.is_none() || !page.listed.is_empty() {
                break;
            }
        }
        Ok(page)
    }

    async fn searched(
        &self,
        filter: &Filter,
        limit: usize,
        after: Option<Place>,
    ) -> Result<Page, StoreError> {
        let mut page = Page::default();
        let users = match filter.email() {
            Some(email) => self.sessions.users_of_email(email).await?,
            None => Vec::new(),
        };
        if !matches!(after, Some(Place::Named(_) | Place::BeforeNamed)) {
            let after = match &after {
                Some(Place::Exact(cursor)) => Some(cursor),
                _ => None,
            };
            self.exact(filter, &users, after, limit, &mut page).await?;
        }
        let Some(word) = filter.name_word() else {
            return Ok(page);
        };
        if page.next.is_some() {
            return Ok(page);
        }
        if page.listed.len() >= limit {
            page.next = Some(Place::BeforeNamed);
            return Ok(page);
        }
        let mut after = match after {
            Some(Place::Named(cursor)) => Some(cursor),
            _ => None,
        };
        let is_found_exactly =
            |one: &Listed| filter.is_exactly(one) || users.iter().any(|user| user.has(one));
        for _ in 0..LOOKS {
            let room = limit - page.listed.len();
            let (named, next) = self.sessions.page(&word, after.as_ref(), room).await?;
            let named = named.into_iter().filter(|one| !is_found_exactly(one));
            page.listed.extend(named);
            page.next = next.clone().map(Place::Named);
            after = next;
            // All that were looked at may have run into their limit, or stand higher up already.
            if after.is_none() || !page.listed.is_empty() {
                break;
            }
        }
        Ok(page)
    }

    /// Those that are found exactly, each once: by their user, where an address led to one, or in
    /// whichever way the filter says.
    async fn exact(
        &self,
        filter: &Filter,
        users: &[KnownUser],
        after: Option<&Cursor>,
        limit: usize,
        page: &mut Page,
    ) -> Result<(), StoreError> {
        let mut listed = match filter {
            Filter::Subject(subject) => self.sessions.of_subject(subject).await?,
            Filter::ProviderSid(sid) => self.sessions.of_provider_sid(sid).await?,
            Filter::Anything(text) => {
                let mut listed = self.sessions.of_subject(text).await?;
                listed.extend(self.sessions.of_provider_sid(text).await?);
                listed
            }
            Filter::Email(_) | Filter::Name(_) => Vec::new(),
        };
        for user in users {
            listed.extend(self.sessions.of_user(user).await?);
        }
        listed.sort_by_cached_key(Listed::cursor);
        listed.dedup_by_key(|one| one.hash);
        listed.retain(|one| after.is_none_or(|after| one.cursor() > *after));
        if listed.len() > limit {
            listed.truncate(limit);
            page.next = listed.last().map(|last| Place::Exact(last.cursor()));
        }
        page.listed = listed;
        Ok(())
    }
}

#[derive(Default)]
struct Page {
    listed: Vec<Listed>,
    next: Option<Place>,
}

/// A session as administrators see it: no token, no claim, nothing that opens it.
fn shown(listed: &Listed) -> Value {
    let session: Option<&Session> = listed.session.as_deref();
    let user_agent = session.and_then(|session| session.details.user_agent.as_deref());
    let token_expires = session.and_then(|session| session.tokens().own.expires);
    let registration = Some(&listed.registration).filter(|known| !known.is_unnamed());
    json!({
        "id": listed.hash.to_hex(),
        "tag": session.map(|session| &session.details.tag),
        "subject": listed.subject,
        "name": listed.name,
        "site": listed.site.site(),
        "tenant": listed.site.tenant_name(),
        "issuer": registration.map(|registration| &*registration.issuer),
        "client_id": registration.map(|registration| &*registration.client_id),
        "provider_sid": listed.provider_sid,
        "created_at": listed.times.created.rfc3339(),
        "last_seen": listed.times.seen.rfc3339(),
        "expires_at": listed.times.expires.rfc3339(),
        "ends_at": listed.times.ends.rfc3339(),
        "client": session.and_then(Session::client).map(|client| client.to_string()),
        "browser": user_agent.and_then(user_agent::in_words),
        "user_agent": user_agent,
        "token_expires_at": token_expires.map(Timestamp::rfc3339),
        "acr": session.and_then(|session| session.details.authentication.acr.as_deref()),
        "amr": session.map_or(&[][..], |session| &session.details.authentication.amr),
        "readable": session.is_some(),
    })
}
