//! This machine's own agent, as a child of the server.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use borealis_bus_schema::{forms::PublicKey, order::Context};
use borealis_service_kit::paths::Paths;
use data_encoding::BASE64;
use tokio::process::Command;
use zeroize::Zeroizing;

use super::{QuickstartError, commands::beside};
use crate::{
    error::ServerError,
    supervise::{Answering, Charge},
};

/// Reads what the agent keeps of its identity.
pub struct Identity(PathBuf);

impl Identity {
    /// Takes the folder of a context under a root.
    pub fn new(paths: &Paths, context: Context) -> Self {
        let folder = paths.root().join("Certificates/Agent/Identity");
        Self(folder.join(context.as_str()))
    }

    /// Returns the device's GUID, once it is one.
    pub fn guid(&self) -> Option<String> {
        let text = std::fs::read_to_string(self.0.join("guid.txt")).ok()?;
        let guid = text.trim();
        (!guid.is_empty()).then(|| guid.to_owned())
    }

    /// Returns the fingerprint of the agent's key, once it made one.
    pub fn fingerprint(&self) -> Option<String> {
        let text = std::fs::read(self.0.join("agent_identity_public.ed25519")).ok()?;
        public_key(&text).map(|key| key.fingerprint())
    }
}

/// Reads a public key as the agent keeps it: 32 bytes in base64.
fn public_key(content: &[u8]) -> Option<PublicKey> {
    let bytes = BASE64.decode(content.trim_ascii()).ok()?;
    bytes.try_into().map(PublicKey::from_bytes).ok()
}

/// Starts the agent.
pub struct AgentCharge {
    own: PathBuf,
    program: PathBuf,
    root: PathBuf,
    logs: PathBuf,
    url: String,
    context: Context,
    code: Option<Zeroizing<String>>,
    identity: Identity,
}

impl AgentCharge {
    /// Takes what it needs.
    ///
    /// Errors: the agent's program is missing.
    pub fn new(paths: &Paths, context: Context, url: &str) -> Result<Self, QuickstartError> {
        Ok(Self {
            own: beside("borealis-server")?,
            program: beside("borealis-agent")?,
            root: paths.root().to_owned(),
            logs: paths.logs().to_owned(),
            url: url.to_owned(),
            context,
            code: None,
            identity: Identity::new(paths, context),
        })
    }

    /// Gives it an installer code, for as long as it is no device.
    #[must_use]
    pub fn with_code(mut self, code: Zeroizing<String>) -> Self {
        self.code = Some(code);
        self
    }
}

impl Charge for AgentCharge {
    fn name(&self) -> &str {
        "agent"
    }

    fn command(&mut self) -> Result<Command, ServerError> {
        let mut command = Command::new(&self.own);
        command
            .arg("child-exec")
            .arg(&self.program)
            .arg("run")
            .args(["--server-url", &self.url])
            .arg("--root")
            .arg(&self.root)
            .arg("--logs")
            .arg(&self.logs)
            .args(["--context", self.context.as_str()])
            .env_remove("BOREALIS_TOKEN")
            .stdin(Stdio::null());
        match &self.code {
            Some(code) if self.identity.guid().is_none() => {
                command.env("BOREALIS_INSTALLER_CODE", code.as_str());
            }
            _ => {
                self.code = None;
                command.env_remove("BOREALIS_INSTALLER_CODE");
            }
        }
        Ok(command)
    }

    fn answers(&mut self, pid: u32) -> Option<Answering> {
        // Whether it is connected is for the server to say; here it counts that it runs and has a name.
        let runs = Path::new("/proc").join(pid.to_string()).exists();
        (runs && self.identity.guid().is_some()).then(|| Answering { remark: String::new() })
    }

    fn said(&mut self, line: &str) {
        // It keeps a log of its own.
        tracing::debug!(child = "agent", line, "the agent printed");
    }

    fn in_vain(&self, _code: Option<i32>) -> Option<u8> {
        None
    }
}
