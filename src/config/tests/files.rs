//! A folder with bff.toml and the files of sites beside it.

use tempfile::TempDir;

use super::*;

/// bff.toml and the files of sites beside it.
pub(super) struct Files(pub(super) TempDir);

impl Files {
    pub(super) fn new(main: &str, sites: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("sites")).unwrap();
        fs::write(folder.path().join("bff.toml"), main).unwrap();
        for (name, text) in sites {
            fs::write(folder.path().join("sites").join(name), text).unwrap();
        }
        Self(folder)
    }

    pub(super) fn with(self, path: &str, text: &str) -> Self {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    pub(super) fn load(&self) -> Result<(Config, Warnings), ConfigErrors> {
        self.load_with(&[])
    }

    pub(super) fn load_with(
        &self,
        more: &[(&str, &str)],
    ) -> Result<(Config, Warnings), ConfigErrors> {
        let mut variables = variables();
        for (name, value) in more {
            variables.insert((*name).to_owned(), (*value).to_owned());
        }
        Config::load(&self.0.path().join("bff.toml"), &variables)
    }

    /// A sentence of the configuration, without this test's folder.
    pub(super) fn plain(&self, said: &str) -> String {
        let folder = format!("{}/", self.0.path().display());
        said.replace(&folder, "")
    }

    pub(super) fn fine(&self) -> Config {
        match self.load() {
            Ok((config, _)) => config,
            Err(errors) => panic!("{}", self.plain(&errors.to_string())),
        }
    }

    pub(super) fn faults(&self) -> String {
        self.plain(&self.load().unwrap_err().to_string())
    }

    pub(super) fn warnings(&self) -> String {
        let loaded = self.load();
        let (_, warnings) = loaded.unwrap_or_else(|errors| panic!("{errors}"));
        self.plain(&warnings.to_string())
    }
}

/// A certificate for these hosts, and its key, in PEM.
pub(super) fn certificate(files: &Files, name: &str, hosts: &[&str]) {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(hosts).unwrap();
    let at = |ending: &str| files.0.path().join(format!("{name}.{ending}"));
    fs::write(at("crt"), made.cert.pem()).unwrap();
    fs::write(at("key"), made.signing_key.serialize_pem()).unwrap();
}
