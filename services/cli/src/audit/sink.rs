//! Where records go: stdout, a file, or a TCP or TLS address.
//!
//! A file is synced before the place that was reached is noted, and cut back to that place at the next start: nothing is lost
//! and nothing stands there twice.
//!
//! Syslog has no acknowledgement, so nobody can tell how much of what was written to a connection its receiver read before it
//! broke. A connection that breaks is made again, and the last mebibyte that was sent goes out again before what is new: the
//! receiver sees records twice rather than never, and `service` and `position` tell which are the same. What is lost to it
//! is only what it did not read further back than that, and what it did not read before this program was started anew.

use std::collections::VecDeque;
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use borealis_bus_schema::audit::AuditEntry;
use reqwest::Url;
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::Format;
use crate::api;
use crate::error::CliError;
use crate::print::Printer;

/// Is how long connecting and sending may take.
const WITHIN: Duration = Duration::from_secs(20);
/// Is how much of what was sent goes out again on the next connection.
const RECENT_BYTES: usize = 1 << 20;
/// Is the longest pause before a connection is tried again.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Says where records go.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// A file.
    pub file: Option<PathBuf>,
    /// `tcp://host:port` or `tls://host:port`.
    pub address: Option<String>,
    /// The file with the CA of the receiver's certificate.
    pub ca: Option<PathBuf>,
    /// The file in which the place that was reached is kept.
    pub cursor_file: Option<PathBuf>,
}

/// Is the place that was reached.
///
/// Shape: JSON `{cursor, bytes}`; `bytes` is the length of the file up to there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Reached {
    cursor: String,
    bytes: Option<u64>,
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send + Sync {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Stream for T {}

/// Is a receiver's address.
struct Receiver {
    host: String,
    port: u16,
    tls: Option<TlsConnector>,
    stream: Option<Box<dyn Stream>>,
    /// What was sent last, which a connection that broke may have lost.
    recent: VecDeque<Vec<u8>>,
}

enum Place {
    Stdout,
    File { path: PathBuf, file: fs::File, bytes: u64 },
    Receiver(Receiver),
}

/// Takes records.
pub struct Sink {
    place: Place,
    format: Format,
    /// The server's name, as syslog tells it.
    host: String,
    cursor_file: Option<PathBuf>,
    /// Whether a connection that breaks is made again.
    goes_on: bool,
}

impl Sink {
    /// Opens the place, and returns with it the cursor that was kept there.
    ///
    /// Errors: [`CliError::Usage`] for what is no address, [`CliError::File`].
    pub fn open(
        target: &Target,
        format: Format,
        host: &str,
        goes_on: bool,
    ) -> Result<(Self, Option<String>), CliError> {
        let reached = target.cursor_file.as_deref().map(read_reached).transpose()?.flatten();
        let place = match (&target.file, &target.address) {
            (None, None) => Place::Stdout,
            (Some(path), _) => open_file(path, target.cursor_file.is_some(), reached.as_ref())?,
            (None, Some(address)) => Place::Receiver(receiver(address, target.ca.as_deref())?),
        };
        let sink = Self {
            place,
            format,
            host: host.to_owned(),
            cursor_file: target.cursor_file.clone(),
            goes_on,
        };
        Ok((sink, reached.map(|reached| reached.cursor)))
    }

    /// Takes a page; returns once it is there, as far as the place can tell, and the cursor behind it is kept.
    ///
    /// Errors: [`CliError::File`], [`CliError::Stream`]; for an address [`CliError::Unreachable`] unless it goes on.
    pub async fn take(&mut self, entries: &[AuditEntry], cursor: &str, printer: &Printer) -> Result<(), CliError> {
        let (format, host, goes_on) = (self.format, self.host.clone(), self.goes_on);
        let framed = matches!(self.place, Place::Receiver(_));
        let mut text = String::new();
        for entry in entries {
            text.push_str(&if framed {
                format.frame(entry, &host)?
            } else {
                format.line(entry, &host)?
            });
        }
        match &mut self.place {
            Place::Stdout => {
                if !text.is_empty() {
                    printer.line(text.trim_end_matches('\n'))?;
                }
            }
            Place::File { path, file, bytes } => {
                if !text.is_empty() {
                    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_data());
                    written.map_err(failed(path, "written"))?;
                    *bytes += text.len() as u64;
                }
            }
            Place::Receiver(receiver) => {
                if !text.is_empty() {
                    receiver.send(text.as_bytes(), goes_on, printer).await?;
                }
            }
        }
        self.keep(cursor)
    }

    fn keep(&self, cursor: &str) -> Result<(), CliError> {
        let Some(path) = &self.cursor_file else { return Ok(()) };
        let reached = Reached {
            cursor: cursor.to_owned(),
            bytes: match &self.place {
                Place::File { bytes, .. } => Some(*bytes),
                _ => None,
            },
        };
        let fresh = path.with_extension(format!("{}.new", std::process::id()));
        let text = serde_json::to_vec(&reached).map_err(|error| CliError::Answer(error.to_string()))?;
        let write = || {
            let mut file = private().create(true).truncate(true).write(true).open(&fresh)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&fresh, path)
        };
        write().map_err(failed(path, "written"))
    }
}

fn private() -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    options.mode(0o600);
    options
}

fn failed(path: &Path, did: &'static str) -> impl FnOnce(std::io::Error) -> CliError {
    let path = path.to_owned();
    move |source| CliError::File { path, did, source }
}

fn read_reached(path: &Path) -> Result<Option<Reached>, CliError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| failed(path, "read")(std::io::Error::new(std::io::ErrorKind::InvalidData, error))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, "read")(error)),
    }
}

/// Opens a file to append to; with a cursor it is cut back to where the cursor was kept.
fn open_file(path: &Path, has_cursor: bool, reached: Option<&Reached>) -> Result<Place, CliError> {
    let mut file = private()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .map_err(failed(path, "opened"))?;
    let length = file.metadata().map_err(failed(path, "read"))?.len();
    let bytes = match reached.and_then(|reached| reached.bytes) {
        Some(bytes) if bytes > length => {
            let shorter = std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                "it is shorter than the cursor file says: records were removed from it",
            );
            return Err(failed(path, "continued")(shorter));
        }
        Some(bytes) => bytes,
        None if has_cursor && length > 0 => {
            let foreign = std::io::Error::new(
                std::io::ErrorKind::AlreadyExists,
                "it holds something, and the cursor file does not say what",
            );
            return Err(failed(path, "continued")(foreign));
        }
        None => length,
    };
    file.set_len(bytes).map_err(failed(path, "cut back"))?;
    file.seek(SeekFrom::Start(bytes)).map_err(failed(path, "continued"))?;
    Ok(Place::File {
        path: path.to_owned(),
        file,
        bytes,
    })
}

fn receiver(address: &str, ca: Option<&Path>) -> Result<Receiver, CliError> {
    let bad = || CliError::Usage(format!("{address:?} is no address: tcp://host:port or tls://host:port"));
    let url = Url::parse(address).map_err(|_| bad())?;
    let host = url.host_str().ok_or_else(bad)?.trim_matches(['[', ']']).to_owned();
    let port = url.port().ok_or_else(bad)?;
    let plain = matches!(url.path(), "" | "/") && url.query().is_none() && url.username().is_empty();
    let tls = match (url.scheme(), ca) {
        ("tcp", None) if plain => None,
        ("tcp", Some(_)) if plain => return Err(CliError::Usage("--to-ca belongs to tls://".to_owned())),
        ("tls", Some(ca)) if plain => {
            let pem = fs::read_to_string(ca).map_err(failed(ca, "read"))?;
            Some(TlsConnector::from(Arc::new(api::tls(&pem)?)))
        }
        ("tls", None) if plain => {
            let missing = "tls:// needs --to-ca, the file with the CA of the receiver's certificate";
            return Err(CliError::Usage(missing.to_owned()));
        }
        _ => return Err(bad()),
    };
    Ok(Receiver {
        host,
        port,
        tls,
        stream: None,
        recent: VecDeque::new(),
    })
}

impl Receiver {
    async fn send(&mut self, bytes: &[u8], goes_on: bool, printer: &Printer) -> Result<(), CliError> {
        let mut pause = Duration::from_millis(500);
        loop {
            let error = match tokio::time::timeout(WITHIN, self.try_send(bytes)).await {
                Ok(Ok(())) => {
                    self.remember(bytes);
                    return Ok(());
                }
                Ok(Err(error)) => error,
                Err(_) => std::io::Error::from(std::io::ErrorKind::TimedOut),
            };
            self.stream = None;
            let unreachable = CliError::Unreachable {
                url: format!("{}:{}", self.host, self.port),
                reason: error.to_string(),
            };
            if !goes_on {
                return Err(unreachable);
            }
            printer.aside(&format!("{unreachable}; trying again"))?;
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if let Some(stream) = &mut self.stream
            && is_closed(stream).await
        {
            self.stream = None;
        }
        let stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                let mut stream = self.connect().await?;
                for sent in &self.recent {
                    stream.write_all(sent).await?;
                }
                stream
            }
        };
        let stream = self.stream.insert(stream);
        stream.write_all(bytes).await?;
        stream.flush().await
    }

    /// Keeps what was sent for the next connection, and forgets what was sent long before.
    fn remember(&mut self, bytes: &[u8]) {
        self.recent.push_back(bytes.to_vec());
        let mut kept: usize = self.recent.iter().map(Vec::len).sum();
        while kept > RECENT_BYTES {
            let Some(oldest) = self.recent.pop_front() else { return };
            kept -= oldest.len();
        }
    }

    async fn connect(&self) -> std::io::Result<Box<dyn Stream>> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from(self.host.clone())
            .map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidInput, error))?;
        Ok(Box::new(tls.connect(name, tcp).await?))
    }
}

/// Tells whether the receiver has ended the connection; what it sends otherwise means nothing.
async fn is_closed(stream: &mut Box<dyn Stream>) -> bool {
    let mut rest = [0u8; 512];
    loop {
        match tokio::time::timeout(Duration::ZERO, stream.read(&mut rest)).await {
            Ok(Ok(0) | Err(_)) => return true,
            Ok(Ok(_)) => {}
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests;
