//! What holds between the secrets of tenants and all others: one that two name goes to the providers of both.

use std::collections::HashMap;

use crate::config::capped::Capped;
use crate::config::error::Faults;
use crate::config::file::ProviderTable;
use crate::config::folder::Folder;
use crate::config::reader::Written;
use crate::config::resolve::between::Known;
use crate::config::resolve::process_secrets::ProcessSecrets;
use crate::config::resolve::tenancy::NamedSecret;
use crate::config::secret_source::SecretSource;

/// Who names a variable or a file.
struct First<'a> {
    whose: String,
    tenant: Option<(usize, &'a NamedSecret)>,
}

/// Warns of each tenant whose values name what somebody else's secret is in, once for each such secret.
pub(super) fn judge(
    known: &[Known<'_>],
    own: &ProcessSecrets,
    folder: &Folder,
    faults: &mut Faults,
) {
    let of_tenants = known.iter().enumerate().flat_map(|(index, site)| {
        let named = site
            .tenancy
            .into_iter()
            .flat_map(|tenancy| &tenancy.secrets);
        named.map(move |named| (index, named))
    });
    let of_tenants: Vec<(usize, &NamedSecret)> = of_tenants.collect();
    if of_tenants.is_empty() {
        return;
    }
    let mut seen: HashMap<String, First<'_>> = HashMap::new();
    for (name, key) in own.named() {
        let whose = format!("{key} of bff.toml");
        seen.entry(name.to_owned()).or_insert(First {
            whose,
            tenant: None,
        });
    }
    for site in known {
        for written in secrets_of(site) {
            let name = written.value.name(|path| folder.public(written, path));
            let whose = format!("{} ({})", written.key, written.place);
            if let Some(name) = name {
                seen.entry(name).or_insert(First {
                    whose,
                    tenant: None,
                });
            }
        }
    }
    let mut capped = Capped::default();
    for (index, named) in of_tenants {
        let whose = format!("the tenant {} ({})", named.tenant, named.tenant_place);
        let first = seen.entry(named.name.clone()).or_insert(First {
            whose,
            tenant: Some((index, named)),
        });
        if first
            .tenant
            .is_some_and(|(of, first)| (of, first.goes_to()) == (index, named.goes_to()))
        {
            continue;
        }
        let key = &named.key;
        let what = format!(
            "makes {} of {key}, which {} names too: this tenant's provider would be sent that secret",
            named.name, first.whose
        );
        let remedy = format!("write {{tenant}} into {key}, as in \"env:SECRET_{{tenant}}\"");
        let (place, said) = &named.said;
        capped.warn(key, (place, said.as_str()), what, remedy, faults);
    }
    capped.conclude(faults);
}

/// The secrets that are the same for a whole site, be it one of tenants.
fn secrets_of<'a>(site: &Known<'a>) -> impl Iterator<Item = &'a Written<SecretSource>> {
    let file = &site.described.file;
    let one = file.provider.written().map(|provider| &provider.value);
    let several = file.providers.written().into_iter();
    let several = several.flat_map(|all| &all.value.0);
    let all = one.into_iter().chain(several.map(|named| &named.value.1));
    let secrets = all.flat_map(|table: &ProviderTable| [&table.client_secret, &table.client_key]);
    secrets
        .filter_map(|field| field.written())
        .filter(|written| !written.value.is_of_nobody())
}
