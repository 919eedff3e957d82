//! nats-server's config: the shipped template with this deployment's values.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

use borealis_service_kit::{
    keys::{self, KeyFileError},
    paths::{Paths, Ports},
    trust::TrustFile,
};
use serde::Deserialize;
use thiserror::Error;

const TEMPLATE: &str = include_str!("../../../deploy/nats/nats.conf.template");

/// Says why the bus's config or the file with its ports could not be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// A file could not be written.
    #[error("the bus's config cannot be written")]
    Write(#[from] KeyFileError),
    /// A file or folder could not be read or made.
    #[error("{}", path.display())]
    Io {
        /// The path.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// nats-server wrote something else than ports.
    #[error("nats-server's file of ports cannot be read")]
    Ports(#[source] serde_json::Error),
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> ConfigError {
    let path = path.to_owned();
    move |source| ConfigError::Io { path, source }
}

/// Fills in the template.
pub fn render(paths: &Paths, trust: &TrustFile, listen: SocketAddr) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let path = |path: PathBuf| quoted(&path.to_string_lossy());
    // nats-server takes a free port for -1; its 0 means the usual one.
    let host = match listen.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let port = match listen.port() {
        0 => "-1".to_owned(),
        port => port.to_string(),
    };
    let deployment: String = trust.deployment.to_string().chars().take(8).collect();
    let values = [
        ("LISTEN", quoted(&format!("{host}:{port}"))),
        ("SERVER_NAME", quoted(&format!("borealis-{deployment}"))),
        ("CERT_FILE", path(paths.leaf_pem("nats"))),
        ("KEY_FILE", path(paths.leaf_key("nats"))),
        ("OPERATOR_JWT", quoted(&trust.operator_jwt)),
        ("SYSTEM_ACCOUNT", quoted(&trust.system_account.public_key)),
        ("RESOLVER_DIR", path(paths.nats_resolver())),
        ("SYSTEM_ACCOUNT_NAME", trust.system_account.public_key.clone()),
        ("SYSTEM_ACCOUNT_JWT", quoted(&trust.system_account.jwt)),
        ("ACCOUNT_NAME", trust.account.public_key.clone()),
        ("ACCOUNT_JWT", quoted(&trust.account.jwt)),
        ("PORTS_DIR", path(paths.nats_state())),
    ];
    values.iter().fold(TEMPLATE.to_owned(), |text, (name, value)| {
        text.replace(&format!("@{name}@"), value)
    })
}

/// Writes the config to its place and clears away what an earlier nats-server said of its ports.
///
/// Errors: [`ConfigError::Write`], [`ConfigError::Io`].
pub fn write(paths: &Paths, trust: &TrustFile, listen: SocketAddr) -> Result<(), ConfigError> {
    keys::shared_folder(&paths.nats_state())?;
    keys::private_folder(&paths.nats_resolver())?;
    remove_ports(paths)?;
    keys::write_private(&paths.nats_conf(), render(paths, trust, listen).as_bytes())?;
    Ok(())
}

/// Removes what was said about the bus's ports; services then wait.
///
/// Errors: [`ConfigError::Io`].
pub fn remove_ports(paths: &Paths) -> Result<(), ConfigError> {
    let folder = paths.nats_state();
    let entries = std::fs::read_dir(&folder).map_err(io_error(&folder))?;
    let own = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "ports"));
    for path in own.chain([paths.ports_json()]) {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io_error(&path)(error)),
            _ => {}
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct ServerPorts {
    #[serde(default)]
    nats: Vec<String>,
}

/// Returns the port on which a nats-server listens; `None` until it says so.
///
/// Errors: [`ConfigError::Io`], [`ConfigError::Ports`].
pub fn listening_port(paths: &Paths, pid: u32) -> Result<Option<u16>, ConfigError> {
    let path = paths.nats_state().join(format!("nats-server_{pid}.ports"));
    let bytes = match std::fs::read(&path) {
        Ok(bytes) if bytes.is_empty() => return Ok(None),
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_error(&path)(error)),
    };
    let ports: ServerPorts = serde_json::from_slice(&bytes).map_err(ConfigError::Ports)?;
    let port = |url: &String| url.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    Ok(ports.nats.iter().find_map(port))
}

/// Returns where programs on this machine and devices reach the bus.
pub fn addresses(trust: &TrustFile, listen: IpAddr, port: u16, pid: u32) -> Ports {
    let url = |host: &str| match host.parse::<Ipv6Addr>() {
        Ok(_) => format!("tls://[{host}]:{port}"),
        Err(_) => format!("tls://{host}:{port}"),
    };
    let own = match listen {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let public = if listen.is_loopback() {
        vec![url(&own.to_string())]
    } else {
        trust.public_names.iter().map(|name| url(name)).collect()
    };
    Ports {
        nats: url(&own.to_string()),
        public,
        pid,
    }
}

/// Tells services and devices where the bus listens.
///
/// Errors: [`ConfigError::Write`].
pub fn announce(paths: &Paths, ports: &Ports) -> Result<(), ConfigError> {
    let mut text = serde_json::to_vec_pretty(ports).map_err(ConfigError::Ports)?;
    text.push(b'\n');
    keys::write_public(&paths.ports_json(), &text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what the template sets, without its comments.
    fn settings(text: &str) -> impl Iterator<Item = &str> {
        text.lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
    }

    #[test]
    fn nothing_but_the_bus_is_offered() {
        let offered = [
            "jetstream",
            "http",
            "monitor",
            "leafnodes",
            "cluster",
            "gateway",
            "mqtt",
            "websocket",
            "no_auth_user",
            "users",
            "token",
            "nkeys",
            "prof_port",
            "allow_non_tls",
        ];
        for line in settings(TEMPLATE) {
            assert!(!offered.iter().any(|name| line.starts_with(name)), "{line}");
        }
    }

    fn paths() -> Paths {
        Paths::new("/r \"q\"", None).unwrap()
    }

    fn trust() -> TrustFile {
        let dir = tempfile::tempdir().unwrap();
        let options = crate::Options {
            names: vec!["rmm.example.org".to_owned(), "10.0.0.7".to_owned()],
            names_given: true,
            now: borealis_bus_schema::time::Timestamp::from_unix_ms(1_795_341_600_000),
        };
        let paths = Paths::new(dir.path(), None).unwrap();
        crate::init(&paths, &options, &mut |_| {}).unwrap().trust
    }

    #[test]
    fn every_value_is_filled_in_and_quoted() {
        let trust = trust();
        let config = render(&paths(), &trust, "[::1]:0".parse().unwrap());
        assert!(settings(&config).all(|line| !line.contains('@')), "{config}");
        assert!(config.contains("listen: \"[::1]:-1\""), "{config}");
        assert!(config.contains("/r \\\"q\\\"/"), "{config}");
        assert!(config.contains(&trust.account.jwt) && config.contains(&trust.operator_jwt));
        let named = render(&paths(), &trust, "0.0.0.0:4222".parse().unwrap());
        assert!(named.contains("listen: \"0.0.0.0:4222\""));
    }

    #[test]
    fn devices_are_told_the_public_names_and_loopback_only_where_nothing_else_is_reached() {
        let trust = trust();
        let everywhere = addresses(&trust, "0.0.0.0".parse().unwrap(), 4222, 1);
        assert_eq!(everywhere.nats, "tls://127.0.0.1:4222");
        assert_eq!(everywhere.public, ["tls://rmm.example.org:4222", "tls://10.0.0.7:4222"]);
        let here = addresses(&trust, "::1".parse().unwrap(), 5, 1);
        assert_eq!(
            (here.nats.as_str(), here.public),
            ("tls://[::1]:5", vec!["tls://[::1]:5".to_owned()])
        );
    }
}
