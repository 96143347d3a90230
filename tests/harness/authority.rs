//! A certificate authority of one test, and the certificates that it gives out.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::CertificateDer;

/// An authority that nobody trusts unless told to.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A server's certificate and its key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate.
    pub der: CertificateDer<'static>,
    /// Its key, PKCS #8.
    pub key: Vec<u8>,
}

impl Authority {
    /// A new one.
    ///
    /// # Panics
    ///
    /// If no key can be made.
    #[must_use]
    pub fn new() -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::new(Vec::new()).expect("no names, no bad name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).expect("a certificate can be signed");
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// Its own certificate, as a file that lists roots holds it.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a server of this name or address.
    ///
    /// # Panics
    ///
    /// If that is neither.
    #[must_use]
    pub fn certificate(&self, name: &str) -> Certificate {
        let key = KeyPair::generate().expect("a key can be made");
        let params = CertificateParams::new([name.to_owned()]).expect("a name or an address");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate can be signed");
        Certificate { der: certificate.der().clone(), key: key.serialize_der() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}
