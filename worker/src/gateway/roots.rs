//! Who may have signed a gateway's certificate: the bundled Mozilla roots, and those that the system trusts.

use std::sync::{Arc, OnceLock};

use rustls::RootCertStore;
use shared::chain::chain;

/// All of them. The system's are read once in the life of a process, from `SSL_CERT_FILE` and `SSL_CERT_DIR` where one
/// is set, else from where the system keeps them. What cannot be read there is logged, and the rest serves.
pub(super) fn roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| Arc::new(read())))
}

fn read() -> RootCertStore {
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let found = rustls_native_certs::load_native_certs();
    let (taken, refused) = roots.add_parsable_certificates(found.certs);
    if let Some(error) = found.errors.first() {
        tracing::warn!(
            error = chain(error),
            errors = found.errors.len(),
            taken,
            "root certificates of the system could not be read; the bundled ones serve without them. Check \
             SSL_CERT_FILE and SSL_CERT_DIR"
        );
    } else if refused > 0 {
        tracing::warn!(
            taken,
            refused,
            "some root certificates of the system are not valid and were left out"
        );
    } else {
        tracing::debug!(taken, "root certificates of the system were read");
    }
    roots
}
