//! Whom the agent believes to be the server: the deployment's own CA root and nobody else.
//!
//! Before enrolment only the root's hash is known, from the installer code. The first handshake then demands that the server
//! sends a certificate with exactly this hash, and verifies chain and name with it as the only anchor; no byte of the code
//! is sent before that.

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use sha2::{Digest, Sha256};
use std::sync::{Arc, PoisonError, RwLock};

/// Says why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The CA file holds no certificate.
    #[error("the CA root is no certificate in PEM")]
    NoCertificate,
    /// The certificate cannot be an anchor.
    #[error("the CA root cannot be trusted")]
    Anchor(#[source] Error),
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Reads the one certificate of a CA file.
///
/// Errors: [`TlsError::NoCertificate`].
pub fn root_of_pem(pem: &str) -> Result<CertificateDer<'static>, TlsError> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|_| TlsError::NoCertificate)
}

/// Returns the hash by which an installer code names a CA root.
pub fn hash_of(root: &CertificateDer<'_>) -> [u8; 32] {
    Sha256::digest(root).into()
}

/// Tells whether a CA root names something; only for a root whose hash is known to be the deployment's.
///
/// Whoever made the certificate chose every byte of it, so that the name's bytes stand there only as the name.
pub fn names(root: &CertificateDer<'_>, name: &str) -> bool {
    root.windows(name.len()).any(|part| part == name.as_bytes())
}

/// Makes a configuration that trusts one CA root.
///
/// Errors: [`TlsError::Anchor`].
pub fn trusting(root: &CertificateDer<'static>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).map_err(TlsError::Anchor)?;
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Anchor)?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    // One connection for weeks: nothing to resume.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(config)
}

/// Makes a configuration that trusts the CA root with that hash.
///
/// Errors: [`TlsError::Anchor`] when the library cannot be set up.
pub fn trusting_hash(ca_sha256: [u8; 32]) -> Result<ClientConfig, TlsError> {
    let verifier = HashVerifier {
        ca_sha256,
        provider: provider(),
        proved: RwLock::new(None),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Anchor)?;
    Ok(builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// Finds the anchor among what the server sends, by its hash, then verifies as usual.
#[derive(Debug)]
struct HashVerifier {
    ca_sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
    /// The verifier of the anchor, once it was seen.
    proved: RwLock<Option<Arc<WebPkiServerVerifier>>>,
}

impl HashVerifier {
    fn verifier(&self, sent: &[CertificateDer<'_>]) -> Result<Arc<WebPkiServerVerifier>, Error> {
        if let Some(known) = &*self.proved.read().unwrap_or_else(PoisonError::into_inner) {
            return Ok(Arc::clone(known));
        }
        let anchor = sent
            .iter()
            .find(|certificate| hash_of(certificate) == self.ca_sha256)
            .ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let mut roots = RootCertStore::empty();
        roots.add(anchor.clone().into_owned())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        *self.proved.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&verifier));
        Ok(verifier)
    }
}

impl ServerCertVerifier for HashVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verifier = self.verifier(intermediates)?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }
    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
