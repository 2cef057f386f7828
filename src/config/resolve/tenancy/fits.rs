//! What a value may be where it is filled in, by the kind of place.
//!
//! A tenant's line changes what a place says, never what kind of thing it says: the address of another
//! host of the same form, the secret of another name.

use std::collections::BTreeSet;
use std::path::PathBuf;

use url::{Host, Url};

use crate::config::reader::Written;
use crate::config::resolve::{Surroundings, headers};
use crate::config::secret_source::{NO_DASH, SecretSource, is_beyond_a_shell};
use crate::config::tenants::placeholders::{is_of_nobody, written};
use crate::config::tenants::places::{Kind, Spot};
use crate::oidc::check_client_key;
use crate::secret::ClientKey;
use crate::web::loopback::is_loopback;

/// As long as what a login link may carry.
const LONGEST_PLAIN: usize = 200;

/// Why a value does not fit, and what to do.
#[derive(Debug)]
pub(super) struct Misfit {
    pub(super) what: String,
    pub(super) remedy: String,
}

/// What is asked of whatever is filled into one spot.
#[derive(Debug)]
pub(super) struct Rule<'a> {
    spot: &'a Spot,
    rest: Rest,
}

/// What a rule has to remember.
#[derive(Debug)]
enum Rest {
    /// An address has this form.
    Form(Form),
    /// The site says where a secret is, and the tenant a part of its name.
    NamedSecret,
    /// The secret itself.
    Secret,
    Plain,
    Scope,
    Header,
}

impl<'a> Rule<'a> {
    /// That of a spot; `None` where what the site itself says is at fault, and is told of.
    ///
    /// # Errors
    ///
    /// A placeholder stands where none may, and what to do.
    pub(super) fn of(spot: &'a Spot) -> Result<Option<Self>, (String, &'static str)> {
        let rest = match spot.kind {
            Kind::Address | Kind::Endpoint => match form_of(spot)? {
                Some(form) => Rest::Form(form),
                None => return Ok(None),
            },
            Kind::Secret => secret_of(spot)?,
            Kind::Plain => Rest::Plain,
            Kind::Scope => Rest::Scope,
            Kind::Header => Rest::Header,
        };
        Ok(Some(Self { spot, rest }))
    }

    /// Judges what is filled into one placeholder.
    pub(super) fn judge_value(&self, value: &str) -> Result<(), Misfit> {
        let key = &self.spot.key;
        match &self.rest {
            Rest::Header if value.contains(['{', '}']) => Err(Misfit {
                what: format!(
                    "is {value:?}, which may not stand in {key}: braces there are the site's own"
                ),
                remedy: "write it without braces".to_owned(),
            }),
            Rest::Form(_) if !is_word(value) => Err(Misfit {
                what: format!("is {value:?}, which may not stand in {key}, an address"),
                remedy: "write letters, digits, - and _ alone".to_owned(),
            }),
            // It may have been meant for the secret, so it is not repeated.
            Rest::NamedSecret if !is_word(value) => Err(Misfit {
                what: format!("may not stand in {key}, which names where a secret is"),
                remedy: "write letters, digits, - and _ alone".to_owned(),
            }),
            Rest::Secret if value.chars().any(char::is_control) => Err(Misfit {
                what: format!("holds a control character, and is a part of {key}"),
                remedy: "write what can be seen".to_owned(),
            }),
            Rest::Scope if !value.bytes().all(is_of_scope) => Err(Misfit {
                what: format!("is {value:?}, which may not stand in {key}"),
                remedy: "write one scope without blanks, quotes and backslashes".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Judges what the place says then.
    pub(super) fn judge(&self, filled: &str) -> Result<(), Misfit> {
        let key = &self.spot.key;
        match &self.rest {
            Rest::Form(form) if Form::of(filled).as_ref() != Some(form) => Err(Misfit {
                what: format!("makes {filled:?} of {key}, an address of another form"),
                remedy: "write a value with which scheme, kind of host, port and number of segments stay the same".to_owned(),
            }),
            // It may hold a secret, so it is not repeated.
            Rest::Secret if filled.starts_with("env:") || filled.starts_with("file:") => Err(Misfit {
                what: format!("would name where {key} is, which only the site may"),
                remedy: format!("write {key} = \"env:{{…}}\" or \"file:{{…}}\" for all tenants, and a part of the name here"),
            }),
            Rest::Plain if !is_plain(filled) => Err(Misfit {
                what: format!("makes text of {key} that no provider is sent: longer than {LONGEST_PLAIN} characters, or with a control character"),
                remedy: "write a shorter, plain one".to_owned(),
            }),
            Rest::Header => {
                let name = key.rsplit('.').next().unwrap_or_default();
                let holds = (
                    "holds a character that no header may",
                    "write visible characters and blanks on one line",
                );
                let fits = match headers::value(name, filled) {
                    Ok(_) if filled.chars().any(char::is_control) => Err(holds),
                    Ok(_) => Ok(()),
                    Err(why) => Err(why),
                };
                fits.map_err(|(what, remedy)| Misfit {
                    what: format!("fills {key}, which then {what}"),
                    remedy: remedy.to_owned(),
                })
            }
            _ => Ok(()),
        }
    }

    /// Looks for the tenant's secret, where one is to be there. The folders of files are noted.
    pub(super) fn look_up(
        &self,
        filled: &str,
        surroundings: Surroundings<'_>,
        folders: &mut BTreeSet<PathBuf>,
    ) -> Result<(), Misfit> {
        let is_secret = matches!(self.rest, Rest::NamedSecret | Rest::Secret);
        if !is_secret || surroundings.purpose.is_without_provider() {
            return Ok(());
        }
        let stands = Written {
            value: (),
            key: self.spot.key.clone(),
            place: self.spot.place.clone(),
        };
        let named = SecretSource::named(filled);
        let source = named.unwrap_or_else(|| SecretSource::Literal(filled.to_owned().into()));
        if let SecretSource::File(path) = &source {
            let path = surroundings.folder.public(&stands, path);
            folders.extend(path.parent().map(PathBuf::from));
        }
        let key = &self.spot.key;
        let path = |path: &str| surroundings.folder.public(&stands, path);
        let found = source.look_up(surroundings.variables, path);
        let found = found.map_err(|(what, remedy)| Misfit {
            what: format!("has no {key}: it {what}"),
            remedy: self.without_dash(filled).unwrap_or(remedy),
        })?;
        if let Some(own) = surroundings.own.name_of(&found) {
            return Err(Misfit {
                what: format!(
                    "has a {key} that {own} says as well, and its provider would be sent it"
                ),
                remedy: "name the secret that this tenant's provider gave".to_owned(),
            });
        }
        if !key.ends_with("client_key") {
            return Ok(());
        }
        check_client_key(&ClientKey::new(found.as_str())).map_err(|fault| Misfit {
            what: format!("has a {key} that cannot sign ({fault})"),
            remedy: "put a key there that starts with -----BEGIN PRIVATE KEY-----".to_owned(),
        })
    }
}

impl Rule<'_> {
    /// What to do where a tenant's value puts a dash into the name of a variable.
    fn without_dash(&self, filled: &str) -> Option<String> {
        let variable = filled.strip_prefix("env:")?;
        let text = &self.spot.text;
        if !is_beyond_a_shell(variable) || is_beyond_a_shell(&text.fill(|_| "")) {
            return None;
        }
        let gaps: Vec<String> = text.names().map(written).collect();
        Some(format!(
            "{NO_DASH}; use file:secrets/{}, or a variable of the tenant with _ in place of -",
            gaps.join("-")
        ))
    }
}

/// Who says where a secret is. A name that the site has no part in could be that of any secret.
fn secret_of(spot: &Spot) -> Result<Rest, (String, &'static str)> {
    let beginning = spot.text.beginning();
    if !(beginning.starts_with("env:") || beginning.starts_with("file:")) {
        return Ok(Rest::Secret);
    }
    let own = spot.text.fill(|_| "");
    if matches!(&*own, "env:" | "file:") {
        let what = format!(
            "lets a tenant name any secret of this process: {:?}",
            spot.text.to_string()
        );
        let remedy = "write a part of the name that is the same for all, as in \"env:SECRET_{tenant}\" or \"file:secrets/{tenant}\"";
        return Err((what, remedy));
    }
    Ok(Rest::NamedSecret)
}

/// The form of an address as it is for nobody.
fn form_of(spot: &Spot) -> Result<Option<Form>, (String, &'static str)> {
    const REMEDY: &str = "write placeholders as labels of the host or as segments of the path";
    let tells = |what: &str| {
        let names: Vec<String> = spot.text.names().map(written).collect();
        (format!("has {} {what}", names.join(" and ")), REMEDY)
    };
    if spot.text.before_gaps().any(ends_in_percent) {
        return Err(tells("in what a percent sign begins"));
    }
    let text = spot.text.of_nobody();
    let Some(form) = Form::of(&text) else {
        return Ok(None);
    };
    // Elsewhere a query is refused in any case.
    if spot.kind == Kind::Endpoint && form.beside.iter().any(|part| is_of_nobody(part)) {
        return Err(tells("beside host and path"));
    }
    Ok(Some(form))
}

/// What stays as it is in an address, whatever is filled in.
#[derive(Debug, PartialEq, Eq)]
struct Form {
    scheme: String,
    /// Of a domain; `None` of an address.
    labels: Option<usize>,
    port: Option<u16>,
    segments: usize,
    is_loopback: bool,
    /// User name, password, query and fragment.
    beside: [String; 4],
}

impl Form {
    fn of(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let labels = match url.host() {
            Some(Host::Domain(name)) => Some(name.split('.').count()),
            Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => None,
        };
        let beside = [
            url.username(),
            url.password().unwrap_or_default(),
            url.query().unwrap_or_default(),
            url.fragment().unwrap_or_default(),
        ];
        Some(Self {
            scheme: url.scheme().to_owned(),
            labels,
            port: url.port(),
            segments: url.path_segments().map_or(0, Iterator::count),
            is_loopback: is_loopback(&url),
            beside: beside.map(str::to_owned),
        })
    }
}

/// Whether what follows would be a part of a percent-encoding.
fn ends_in_percent(text: &str) -> bool {
    let mut last = text.bytes().rev();
    match (last.next(), last.next()) {
        (Some(b'%'), _) => true,
        (Some(digit), Some(b'%')) => digit.is_ascii_hexdigit(),
        _ => false,
    }
}

fn is_word(value: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    !value.is_empty() && value.bytes().all(is_plain)
}

/// RFC 6749 §3.3: `scope-token`.
const fn is_of_scope(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

fn is_plain(text: &str) -> bool {
    text.chars().count() <= LONGEST_PLAIN && !text.chars().any(char::is_control)
}
