//! The options of `borealis-server`: what works on a root takes [`PlaceArgs`], what serves takes [`ServiceArgs`].

use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use clap::Args;

use crate::paths::Paths;

/// Holds the options of whatever works on a root.
#[derive(Debug, Clone, Args)]
pub struct PlaceArgs {
    /// Folder under which everything is kept [default: where the program is installed]
    #[arg(long, global = true, value_name = "DIR", env = "BOREALIS_ROOT")]
    pub root: Option<PathBuf>,
    /// Prints JSON lines
    #[arg(long, global = true)]
    pub json: bool,
}

impl PlaceArgs {
    /// Returns the paths under the root.
    ///
    /// Errors: the program's own path or the working directory cannot be read.
    pub fn paths(&self) -> io::Result<Paths> {
        self.paths_with_logs(None)
    }

    fn paths_with_logs(&self, logs: Option<&Path>) -> io::Result<Paths> {
        let root = match &self.root {
            Some(root) => root.clone(),
            None => borealis_logging::installed_root()?,
        };
        Paths::new(root, logs)
    }
}

/// Holds the options of a service.
#[derive(Debug, Clone, Args)]
pub struct ServiceArgs {
    /// Where it works.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Address of the web page and the API; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:5000")]
    pub listen: SocketAddr,
    /// Address of the bus; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:4222")]
    pub nats_listen: SocketAddr,
    /// Name under which browsers and devices reach this server; may be repeated [default: host name and localhost]
    #[arg(long = "public-name", value_name = "NAME")]
    pub public_names: Vec<String>,
    /// Folder for logs [default: Logs under the root]
    #[arg(long, value_name = "DIR")]
    pub logs: Option<PathBuf>,
    /// File to write, once everything answers, with the addresses
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// Folder of the fetched programs [default: Dependencies under the root or the checkout]
    #[arg(long, value_name = "DIR", env = "BOREALIS_DEPENDENCIES", hide = true)]
    pub dependencies: Option<PathBuf>,
}

impl ServiceArgs {
    /// Returns the paths that the options name.
    ///
    /// Errors: the program's own path or the working directory cannot be read.
    pub fn paths(&self) -> io::Result<Paths> {
        self.place.paths_with_logs(self.logs.as_deref())
    }

    /// Returns the names of this server: those given, else the host's name and `localhost`.
    pub fn names(&self) -> Vec<String> {
        if !self.public_names.is_empty() {
            return self.public_names.clone();
        }
        let host = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
        let mut names = vec![host, "localhost".to_owned()];
        names.retain(|name| is_host_name(name));
        names.dedup();
        names
    }
}

/// Tells whether a text can stand as a name in a certificate: a DNS name or an IP address.
pub fn is_host_name(text: &str) -> bool {
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.parse::<IpAddr>().is_ok() || (text.len() <= 253 && text.split('.').all(label))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        args: ServiceArgs,
    }

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let args = Program::parse_from(["x", "--root", "/r"]).args;
        assert_eq!(args.listen.to_string(), "0.0.0.0:5000");
        assert_eq!(args.nats_listen.to_string(), "0.0.0.0:4222");
        assert!(args.names().contains(&"localhost".to_owned()));
        assert_eq!(args.paths().unwrap().root(), PathBuf::from("/r"));
    }

    #[test]
    fn what_is_no_name_is_known() {
        for good in ["localhost", "rmm.example.org", "10.0.0.1", "::1", "a_b"] {
            assert!(is_host_name(good), "{good}");
        }
        for bad in ["", "a b", "-a", "a..b", "https://x", "x:1", "*"] {
            assert!(!is_host_name(bad), "{bad}");
        }
    }
}
