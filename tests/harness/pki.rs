//! Certificates of an authority of one's own.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};

/// Whom clients trust that are told so, and nobody else does.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM, in files.
pub struct Pair {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("randomness");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its own certificate in a file of this name.
    pub fn write(&self, file: &Path) -> PathBuf {
        fs::write(file, self.pem()).expect("the folder can be written to");
        file.to_owned()
    }

    /// A new certificate for these names in `NAME.crt`, and its key in `NAME.key`, which is its
    /// owner's alone.
    pub fn issue(&self, names: &[&str], folder: &Path, name: &str) -> Pair {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let key = KeyPair::generate().expect("randomness");
        let params = CertificateParams::new(names).expect("names");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let file = |extension: &str| folder.join(format!("{name}.{extension}"));
        let pair = Pair { certificate: file("crt"), key: file("key") };
        fs::write(&pair.certificate, certificate.pem()).expect("the folder can be written to");
        fs::write(&pair.key, key.serialize_pem()).expect("the folder can be written to");
        fs::set_permissions(&pair.key, Permissions::from_mode(0o600)).expect("it is one's own");
        pair
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
