//! The gateway's TLS: its own leaf, signed by the deployment's CA, by rustls with ring.

use std::sync::Arc;
use std::time::SystemTime;

use borealis_bus_schema::causes::chain;
use borealis_bus_schema::subjects::Service;
use borealis_service_kit::{keys, paths::Paths};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::error::RunError;

/// Reads leaf, chain and key of the gateway.
///
/// Errors: [`RunError::LeafKey`], [`RunError::Certificate`].
fn acceptor(paths: &Paths) -> Result<TlsAcceptor, RunError> {
    let holder = Service::Gateway.name();
    let (pem_path, key_path) = (paths.leaf_pem(holder), paths.leaf_key(holder));
    let bad = |reason: String| RunError::Certificate {
        path: pem_path.clone(),
        reason,
    };
    let key = keys::read_private_text(&key_path, "private key of the certificate").map_err(RunError::LeafKey)?;
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|e| bad(e.to_string()))?;
    let pem = std::fs::read(&pem_path).map_err(|e| bad(e.to_string()))?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|e| bad(e.to_string()))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(e.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|e| bad(e.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Holds the leaf in use; a renewed one takes its place without a restart.
pub(crate) struct Leaf {
    paths: Paths,
    written: Option<SystemTime>,
    current: watch::Sender<TlsAcceptor>,
}

impl Leaf {
    /// Reads the leaf.
    ///
    /// Errors: as [`acceptor`].
    pub(crate) fn read(paths: &Paths) -> Result<Self, RunError> {
        let written = written(paths);
        let current = watch::Sender::new(acceptor(paths)?);
        Ok(Self {
            paths: paths.clone(),
            written,
            current,
        })
    }

    /// Returns what new connections are accepted with.
    pub(crate) fn current(&self) -> watch::Receiver<TlsAcceptor> {
        self.current.subscribe()
    }

    /// Reads the leaf again when its file has changed; one that cannot be used leaves the old one in place.
    pub(crate) fn renew_if_changed(&mut self) {
        let written = written(&self.paths);
        // It is away for a moment while key and certificate are replaced.
        if written.is_none() || written == self.written {
            return;
        }
        match acceptor(&self.paths) {
            Ok(acceptor) => {
                self.written = written;
                self.current.send_replace(acceptor);
                tracing::info!("the renewed certificate is in use");
            }
            Err(error) => tracing::error!(error = %chain(&error), "the renewed certificate cannot be used"),
        }
    }
}

fn written(paths: &Paths) -> Option<SystemTime> {
    let metadata = std::fs::metadata(paths.leaf_pem(Service::Gateway.name())).ok()?;
    metadata.modified().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use borealis_test_support::TestBus;
    use std::time::Duration;

    fn touch(paths: &Paths, seconds: u64) {
        let file = std::fs::File::options()
            .append(true)
            .open(paths.leaf_pem("gateway"))
            .unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
            .unwrap();
    }

    #[test]
    fn a_renewed_leaf_is_taken_and_a_broken_one_is_not() {
        let root = TestBus::provision().unwrap();
        let mut leaf = Leaf::read(root.paths()).unwrap();
        let mut current = leaf.current();
        leaf.renew_if_changed();
        assert!(!current.has_changed().unwrap());

        touch(root.paths(), 1_900_000_000);
        leaf.renew_if_changed();
        assert!(current.has_changed().unwrap());
        current.mark_unchanged();

        std::fs::write(root.paths().leaf_pem("gateway"), "rubbish").unwrap();
        touch(root.paths(), 1_900_000_001);
        leaf.renew_if_changed();
        assert!(!current.has_changed().unwrap());
    }
}
