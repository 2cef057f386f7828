//! `provider.login_params`: what a login link may carry to the provider (B8).

use crate::auth::{LoginParams, LoginValues, why_not};
use crate::config::error::Faults;
use crate::config::file::ProviderTable;
use crate::config::lists::OneOrMany;
use crate::config::reader::Written;

/// Any value: as the whole of what is written, since beside it a list says nothing.
const ANY: &str = "*";

pub(super) fn login_params(provider: &ProviderTable, faults: &mut Faults) -> LoginParams {
    let Some(written) = provider.login_params.written() else {
        return LoginParams::default();
    };
    let fixed = provider.authorize_params.written();
    let is_fixed = |name: &str| {
        let mut fixed = fixed.into_iter().flat_map(|fixed| &fixed.value.0);
        fixed.any(|parameter| parameter.value.0 == name)
    };
    let params = written.value.0.iter().map(|parameter| {
        let (name, written) = &parameter.value;
        if let Some((what, remedy)) = why_not(name) {
            parameter.refuse(faults, what, remedy);
        } else if is_fixed(name) {
            let what = "stands in authorize_params too, and what is fixed there no link can change";
            parameter.refuse(faults, what, "leave one of the two out");
        }
        (name.clone(), values(parameter, written, faults))
    });
    LoginParams::new(params.collect())
}

fn values<T>(
    parameter: &Written<T>,
    OneOrMany(written): &OneOrMany<String>,
    faults: &mut Faults,
) -> LoginValues {
    let is_any = |value: &Written<String>| value.value == ANY;
    if written.is_empty() {
        let remedy = "list its values, write \"*\" for any, or leave it out";
        parameter.refuse(faults, "has no value that a link could say", remedy);
    } else if written.iter().all(is_any) {
        return LoginValues::Any;
    } else if let Some(any) = written.iter().find(|value| is_any(value)) {
        let remedy = "write \"*\" alone, or leave it out of the list";
        any.refuse(
            faults,
            "holds \"*\", which is any value, beside others",
            remedy,
        );
    }
    LoginValues::Listed(written.iter().map(|value| value.value.clone()).collect())
}
