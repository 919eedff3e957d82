//! The deployment's own certificates: a root that is sealed away, an issuing CA that stays, leaves for gateway and bus.
//!
//! Keys are ECDSA P-256, since browsers do not take Ed25519. Devices pin the root; the leaves carry their whole chain.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use borealis_bus_schema::{forms::PublicKey, installer_code::vouching_name, time::Timestamp};
use chrono::{DateTime, Datelike, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use thiserror::Error;
use x509_parser::pem::Pem;
use zeroize::Zeroizing;

const DAY_MS: i64 = 24 * 3_600_000;
const ROOT_DAYS: i64 = 20 * 365;
const ISSUING_DAYS: i64 = 10 * 365;
/// Is how long a leaf lives; browsers refuse more.
const LEAF_DAYS: i64 = 397;
/// Is how long before its end a leaf is made anew.
const RENEW_DAYS: i64 = 60;

/// Says why a certificate could not be made or read.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// The certificate could not be made.
    #[error("certificate for {what}")]
    Make {
        /// Whom it is for.
        what: String,
        /// What is wrong.
        #[source]
        source: rcgen::Error,
    },
    /// A stored certificate cannot be read.
    #[error("the certificate of {what} cannot be read")]
    Read {
        /// Whose it is.
        what: String,
    },
}

fn making(what: &str) -> impl FnOnce(rcgen::Error) -> CertificateError {
    let what = what.to_owned();
    move |source| CertificateError::Make { what, source }
}

/// Holds a certificate and its private key.
pub struct Certified {
    /// The certificate, PEM; a leaf has its chain behind it.
    pub certificate: String,
    /// The private key, PEM.
    pub key: Zeroizing<String>,
}

/// Holds the CA root and the CA under it.
pub struct Authorities {
    /// The root; its key is to be sealed.
    pub root: Certified,
    /// The issuing CA, which signs leaves.
    pub issuing: Certified,
}

/// Makes a CA root that vouches for the root of code signing, and an issuing CA under it.
///
/// Errors: [`CertificateError::Make`].
pub fn authorities(
    deployment: &str,
    code_signing_root: &PublicKey,
    now: Timestamp,
) -> Result<Authorities, CertificateError> {
    let make = |what: &'static str| making(what);
    let root_key = KeyPair::generate().map_err(make("the CA root"))?;
    let mut root_params = authority(&format!("Borealis root {deployment}"), 1, ROOT_DAYS, now)?;
    let vouching = vouching_name(code_signing_root).as_str().try_into();
    root_params.subject_alt_names = vec![SanType::URI(vouching.map_err(make("the CA root"))?)];
    let root = root_params.self_signed(&root_key).map_err(make("the CA root"))?;
    let root_text = root.pem();
    let root_pem = Zeroizing::new(root_key.serialize_pem());

    let issuing = issuing(deployment, &root_text, &root_pem, now)?;
    Ok(Authorities {
        root: Certified {
            certificate: root_text,
            key: root_pem,
        },
        issuing,
    })
}

/// Makes an issuing CA under a root.
///
/// Errors: [`CertificateError::Make`].
pub fn issuing(
    deployment: &str,
    root_pem: &str,
    root_key: &str,
    now: Timestamp,
) -> Result<Certified, CertificateError> {
    let make = || making("the issuing CA");
    let root_key = KeyPair::from_pem(root_key).map_err(make())?;
    let root = Issuer::from_ca_cert_pem(root_pem, root_key).map_err(make())?;
    let key = KeyPair::generate().map_err(make())?;
    let params = authority(&format!("Borealis issuing {deployment}"), 0, ISSUING_DAYS, now)?;
    let certificate = params.signed_by(&key, &root).map_err(make())?;
    Ok(Certified {
        certificate: certificate.pem(),
        key: Zeroizing::new(key.serialize_pem()),
    })
}

/// Makes a leaf for a server under all the given names and this machine's own.
///
/// Shape: the certificate's PEM holds leaf, issuing CA and CA root, in this order.
///
/// Errors: [`CertificateError::Make`], also for a name that cannot stand in a certificate; [`CertificateError::Read`].
pub fn leaf(
    holder: &str,
    names: &[String],
    issuing_pem: &str,
    issuing_key: &str,
    root_pem: &str,
    now: Timestamp,
) -> Result<Certified, CertificateError> {
    let make = || making(holder);
    let mut params = CertificateParams::default();
    params.subject_alt_names = alternative_names(names).map_err(make())?;
    params.distinguished_name = DistinguishedName::new();
    let common: String = names
        .first()
        .map_or("localhost", String::as_str)
        .chars()
        .take(64)
        .collect();
    params.distinguished_name.push(DnType::CommonName, common);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    validity(&mut params, LEAF_DAYS, now);
    let issuing_key = KeyPair::from_pem(issuing_key).map_err(make())?;
    let issuer = Issuer::from_ca_cert_pem(issuing_pem, issuing_key).map_err(make())?;
    let key = KeyPair::generate().map_err(make())?;
    let certificate = params.signed_by(&key, &issuer).map_err(make())?;
    Ok(Certified {
        certificate: [certificate.pem().as_str(), issuing_pem, root_pem].concat(),
        key: Zeroizing::new(key.serialize_pem()),
    })
}

/// Tells whether a leaf must be made anew: it ends soon, or lacks a name.
///
/// Errors: [`CertificateError::Read`].
pub fn leaf_is_due(holder: &str, leaf_pem: &str, names: &[String], now: Timestamp) -> Result<bool, CertificateError> {
    let unreadable = || CertificateError::Read {
        what: holder.to_owned(),
    };
    let pem = Pem::iter_from_buffer(leaf_pem.as_bytes())
        .next()
        .and_then(Result::ok)
        .ok_or_else(unreadable)?;
    let certificate = pem.parse_x509().map_err(|_| unreadable())?;
    let ends_ms = certificate.validity().not_after.timestamp().saturating_mul(1000);
    let extension = certificate.subject_alternative_name().map_err(|_| unreadable())?;
    let held: Vec<String> = extension
        .iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(name_text)
        .collect();
    let lacks = names.iter().any(|name| !held.contains(&name.to_lowercase()));
    Ok(lacks || ends_ms < now.plus_ms(RENEW_DAYS * DAY_MS).unix_ms())
}

fn name_text(name: &x509_parser::extensions::GeneralName<'_>) -> Option<String> {
    use x509_parser::extensions::GeneralName;
    match name {
        GeneralName::DNSName(name) => Some(name.to_lowercase()),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            long => <[u8; 16]>::try_from(long).ok().map(|b| Ipv6Addr::from(b).to_string()),
        },
        _ => None,
    }
}

fn authority(name: &str, below: u8, days: i64, now: Timestamp) -> Result<CertificateParams, CertificateError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "Borealis");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = below == 0;
    validity(&mut params, days, now);
    Ok(params)
}

fn alternative_names(names: &[String]) -> Result<Vec<SanType>, rcgen::Error> {
    let own = ["localhost", "127.0.0.1", "::1"];
    let mut all: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
    all.extend(own.into_iter().map(str::to_owned));
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|name| seen.insert(name.clone()));
    all.into_iter()
        .map(|name| match name.parse::<IpAddr>() {
            Ok(address) => Ok(SanType::IpAddress(address)),
            Err(_) => name.as_str().try_into().map(SanType::DnsName),
        })
        .collect()
}

fn validity(params: &mut CertificateParams, days: i64, now: Timestamp) {
    let date = |at: Timestamp| {
        let day = DateTime::<Utc>::from_timestamp_millis(at.unix_ms()).unwrap_or_default();
        let small = |number: u32| u8::try_from(number).unwrap_or(1);
        date_time_ymd(day.year(), small(day.month()), small(day.day()))
    };
    // A day back, for devices whose clocks are slow.
    params.not_before = date(now.plus_ms(-DAY_MS));
    params.not_after = date(now.plus_ms((days - 1) * DAY_MS));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_ms(1_795_341_600_000);

    #[test]
    fn a_leaf_chains_to_its_root_and_holds_its_names() {
        let made = authorities("x", &PublicKey::from_bytes([7; 32]), NOW).unwrap();
        let names = ["Rmm.example.org".to_owned(), "10.1.2.3".to_owned()];
        let (issuing, root) = (&made.issuing, &made.root);
        let leaf = leaf(
            "gateway",
            &names,
            &issuing.certificate,
            &issuing.key,
            &root.certificate,
            NOW,
        )
        .unwrap();
        let chain: Vec<Pem> = Pem::iter_from_buffer(leaf.certificate.as_bytes())
            .collect::<Result<_, _>>()
            .unwrap();
        let chain: Vec<_> = chain.iter().map(|pem| pem.parse_x509().unwrap()).collect();
        assert_eq!(chain.len(), 3);
        chain[0].verify_signature(Some(chain[1].public_key())).unwrap();
        chain[1].verify_signature(Some(chain[2].public_key())).unwrap();
        chain[2].verify_signature(None).unwrap();
        let limits = |at: usize| {
            chain[at]
                .basic_constraints()
                .unwrap()
                .map(|c| (c.value.ca, c.value.path_len_constraint))
        };
        assert_eq!(
            (limits(0), limits(1), limits(2)),
            (Some((false, None)), Some((true, Some(0))), Some((true, Some(1))))
        );
        assert!(!leaf_is_due("gateway", &leaf.certificate, &names, NOW).unwrap());
        let all = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        assert!(!leaf_is_due("gateway", &leaf.certificate, &all, NOW).unwrap());
        assert!(leaf_is_due("gateway", &leaf.certificate, &["other".to_owned()], NOW).unwrap());
        assert!(leaf_is_due("gateway", &leaf.certificate, &names, NOW.plus_ms(340 * DAY_MS)).unwrap());
    }

    #[test]
    fn what_is_no_certificate_is_said() {
        assert!(matches!(
            leaf_is_due("nats", "nonsense", &[], NOW),
            Err(CertificateError::Read { .. })
        ));
    }
}
