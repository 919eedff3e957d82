//! How the bus and each service are started, and when they answer.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
};

use borealis_bus_schema::subjects::Service;
use borealis_logging::LogFile;
use borealis_provision::nats_config;
use borealis_service_kit::{args::ServiceArgs, exit, inherited, paths::Paths, ready, trust::TrustFile};
use serde::Deserialize;
use tokio::process::Command;

use super::bootstrap::Bootstrap;
use crate::{
    error::ServerError,
    services::IsolationReport,
    supervise::{Answering, Charge},
};

/// Keeps secrets that this process was given from its children.
const WITHHELD: [&str; 3] = ["BOREALIS_TOKEN", "BOREALIS_INSTALLER_CODE", "BOREALIS_SETUP_LINK"];

fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    for name in WITHHELD {
        command.env_remove(name);
    }
    command
}

/// Starts nats-server.
pub struct NatsCharge {
    own: PathBuf,
    program: PathBuf,
    paths: Paths,
    trust: TrustFile,
    listen: SocketAddr,
    log: Arc<LogFile>,
    port_taken: bool,
}

impl NatsCharge {
    /// Takes what it needs; `own` is this program, `program` nats-server.
    pub fn new(
        own: PathBuf,
        program: PathBuf,
        paths: Paths,
        trust: TrustFile,
        listen: SocketAddr,
        log: Arc<LogFile>,
    ) -> Self {
        Self {
            own,
            program,
            paths,
            trust,
            listen,
            log,
            port_taken: false,
        }
    }
}

impl Charge for NatsCharge {
    fn name(&self) -> &str {
        "nats"
    }

    fn command(&mut self) -> Result<Command, ServerError> {
        nats_config::write(&self.paths, &self.trust, self.listen)?;
        self.port_taken = false;
        let mut command = command(&self.own);
        command.arg("child-exec").arg(&self.program);
        command.arg("-c").arg(self.paths.nats_conf());
        Ok(command)
    }

    fn answers(&mut self, pid: u32) -> Option<Answering> {
        let port = match nats_config::listening_port(&self.paths, pid) {
            Ok(port) => port?,
            Err(error) => {
                tracing::warn!(%error, "the bus's ports cannot be read");
                return None;
            }
        };
        let ports = nats_config::addresses(&self.trust, self.listen.ip(), port, pid);
        if let Err(error) = nats_config::announce(&self.paths, &ports) {
            tracing::error!(%error, "the bus's ports cannot be announced");
            return None;
        }
        // Started again it must be where everyone looks for it.
        self.listen.set_port(port);
        Some(Answering {
            remark: format!(", {}", ports.nats),
        })
    }

    fn said(&mut self, line: &str) {
        self.log.write_line(line);
        self.port_taken |= line.contains("address already in use");
        if line.contains("[ERR]") || line.contains("[FTL]") {
            tracing::warn!(line, "the bus reports an error");
        }
    }

    fn ended(&mut self) {
        if let Err(error) = nats_config::remove_ports(&self.paths) {
            tracing::warn!(%error, "the bus's ports cannot be taken back");
        }
    }

    fn in_vain(&self, code: Option<i32>) -> Option<u8> {
        match code {
            _ if self.port_taken => Some(exit::PORT_IN_USE),
            Some(code) if code == i32::from(exit::NATS_SERVER) => Some(exit::NATS_SERVER),
            _ => None,
        }
    }
}

/// Starts a service.
pub struct ServiceCharge {
    service: Service,
    own: PathBuf,
    paths: Paths,
    args: ServiceArgs,
    line: Option<Bootstrap>,
}

impl ServiceCharge {
    /// Takes what it needs; `own` is this program.
    pub fn new(service: Service, own: PathBuf, paths: Paths, args: ServiceArgs) -> Self {
        Self {
            service,
            own,
            paths,
            args,
            line: None,
        }
    }

    /// Lets the service inherit a line to this process.
    #[must_use]
    pub fn with_line(mut self, line: Bootstrap) -> Self {
        self.line = Some(line);
        self
    }

    fn command_on(&self, listen: SocketAddr) -> Result<Command, ServerError> {
        ready::clear(&self.paths, self.service);
        let mut command = command(&self.own);
        command
            .arg(self.service.name())
            .arg("--root")
            .arg(self.paths.root())
            .arg("--logs")
            .arg(self.paths.logs())
            .args(["--listen", &listen.to_string()])
            .args(["--nats-listen", &self.args.nats_listen.to_string()]);
        for name in &self.args.public_names {
            command.args(["--public-name", name]);
        }
        if let Some(line) = &self.line {
            let end = line.renew().map_err(ServerError::io("the line to access"))?;
            command.stdin(Stdio::from(end)).env(inherited::VARIABLE, "0");
        }
        Ok(command)
    }

    fn remark(&self, pid: u32) -> String {
        match IsolationReport::read(&self.paths, self.service) {
            Some(report) if report.pid == pid && report.isolated() => String::new(),
            _ => ", keys not isolated".to_owned(),
        }
    }
}

impl Charge for ServiceCharge {
    fn name(&self) -> &str {
        self.service.name()
    }

    fn command(&mut self) -> Result<Command, ServerError> {
        self.command_on(self.args.listen)
    }

    fn answers(&mut self, pid: u32) -> Option<Answering> {
        let ready = ready::read(&self.paths, self.service)?;
        (ready.pid == pid).then(|| Answering {
            remark: self.remark(pid),
        })
    }

    fn said(&mut self, line: &str) {
        tracing::warn!(child = self.service.name(), line, "a service printed");
    }

    fn ended(&mut self) {
        ready::clear(&self.paths, self.service);
    }
}

/// Is what the gateway says once it listens.
///
/// Shape: JSON in `Server/State/gateway/listen.json`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ListenFile {
    /// The port.
    pub port: u16,
    /// The process.
    pub pid: u32,
}

impl ListenFile {
    fn path(paths: &Paths) -> PathBuf {
        paths.state(Service::Gateway).join("listen.json")
    }

    /// Reads the file; `None` while the gateway does not listen.
    pub fn read(paths: &Paths) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(Self::path(paths)).ok()?).ok()
    }
}

/// Starts the gateway.
pub struct GatewayCharge {
    service: ServiceCharge,
    listen: SocketAddr,
}

impl GatewayCharge {
    /// Takes a service's charge and the address to listen on.
    pub fn new(service: ServiceCharge, listen: SocketAddr) -> Self {
        Self { service, listen }
    }
}

impl Charge for GatewayCharge {
    fn name(&self) -> &str {
        self.service.name()
    }

    fn command(&mut self) -> Result<Command, ServerError> {
        self.service.command_on(self.listen)
    }

    fn answers(&mut self, pid: u32) -> Option<Answering> {
        let listening = ListenFile::read(&self.service.paths).filter(|file| file.pid == pid)?;
        // Started again it must be where everyone looks for it.
        self.listen.set_port(listening.port);
        Some(Answering {
            remark: format!(", port {}{}", listening.port, self.service.remark(pid)),
        })
    }

    fn said(&mut self, line: &str) {
        self.service.said(line);
    }

    fn ended(&mut self) {
        self.service.ended();
        // A killed gateway leaves it behind.
        let _ = std::fs::remove_file(ListenFile::path(&self.service.paths));
    }
}
