//! The real `borealis-server up`, as a child process.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use borealis_service_kit::paths::Paths;
use serde::Deserialize;
use tempfile::TempDir;

use crate::{TestError, eventually_within, programs};

/// Is how long a whole server may take to start, on a machine that does much else.
const START: Duration = Duration::from_secs(90);
/// Is how long a whole server may take to stop.
const STOP: Duration = Duration::from_secs(15);

/// Says how a server is started.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The address of page and API; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The address of the bus; port 0 takes a free one.
    pub nats_listen: SocketAddr,
    /// Further arguments.
    pub args: Vec<String>,
    /// Further variables, for the server and all its children.
    pub env: Vec<(String, String)>,
}

impl Default for ServerOptions {
    fn default() -> Self {
        let loopback = ([127, 0, 0, 1], 0).into();
        Self {
            listen: loopback,
            nats_listen: loopback,
            args: Vec::new(),
            env: Vec::new(),
        }
    }
}

/// Is what the ready file says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ready {
    /// `https://host:port`.
    pub url: String,
    /// `tls://host:port`.
    pub nats_url: String,
    /// The CA root's PEM file.
    pub ca: PathBuf,
    /// The server's process.
    pub pid: u32,
    /// The set-up link, while there is no operator.
    pub setup_link: Option<String>,
}

/// Is a running server in a temporary root.
pub struct TestServer {
    dir: Option<TempDir>,
    paths: Paths,
    child: Child,
    ready: Ready,
}

impl TestServer {
    /// Starts a server and waits until everything answers.
    ///
    /// Errors: the program is not built, or does not get ready; what it printed stands in the text.
    pub async fn start() -> Result<Self, TestError> {
        let dir = TempDir::with_prefix("borealis-").map_err(|error| TestError::of("temporary root", &error))?;
        Self::start_in(dir, &ServerOptions::default()).await
    }

    /// Starts a server in a root that may have been used before.
    ///
    /// Errors: as [`TestServer::start`].
    pub async fn start_in(dir: TempDir, options: &ServerOptions) -> Result<Self, TestError> {
        let paths = Paths::new(dir.path(), None).map_err(|error| TestError::of("root", &error))?;
        let child = spawn(&paths, options)?;
        let mut server = Self {
            dir: Some(dir),
            paths,
            child,
            ready: Ready {
                url: String::new(),
                nats_url: String::new(),
                ca: PathBuf::new(),
                pid: 0,
                setup_link: None,
            },
        };
        server.ready = server.wait_ready().await?;
        Ok(server)
    }

    async fn wait_ready(&mut self) -> Result<Ready, TestError> {
        let (file, pid) = (ready_file(&self.paths), self.child.id());
        let child = &mut self.child;
        let answer = eventually_within("the server's ready file", START, async || {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(Err(status));
            }
            let ready: Ready = serde_json::from_slice(&std::fs::read(&file).ok()?).ok()?;
            (ready.pid == pid).then_some(Ok(ready))
        })
        .await;
        let said = || std::fs::read_to_string(screen(&self.paths)).unwrap_or_default();
        match answer {
            Ok(Ok(ready)) => Ok(ready),
            Ok(Err(status)) => Err(TestError(format!("the server ended ({status}):\n{}", said()))),
            Err(error) => Err(TestError(format!("{error}:\n{}", said()))),
        }
    }

    /// Returns what the ready file said.
    pub fn ready(&self) -> &Ready {
        &self.ready
    }
    /// Returns the root's paths.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }
    /// Returns the process id of `up`.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    /// Returns what the server printed.
    pub fn screen(&self) -> String {
        std::fs::read_to_string(screen(&self.paths)).unwrap_or_default()
    }
    /// Returns a file of the server's logs.
    pub fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.paths.server_logs().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Sends SIGTERM, waits until the server ended, and gives its root back.
    ///
    /// Errors: it does not end in time.
    pub async fn stop(mut self) -> Result<(ExitStatus, Option<TempDir>), TestError> {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(|errno| TestError(format!("SIGTERM: {errno}")))?;
        }
        let child = &mut self.child;
        let status = eventually_within("the server's end", STOP, async || child.try_wait().ok().flatten()).await?;
        Ok((status, self.dir.take()))
    }

    /// Ends `up` with SIGKILL and gives its root back; its children end with it.
    pub fn kill(mut self) -> Option<TempDir> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.dir.take()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        // Its children end with it; it is gone already when this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            eprintln!("the server printed:\n{}", self.screen());
            eprintln!("the server's root is kept: {}", dir.keep().display());
        }
    }
}

fn ready_file(paths: &Paths) -> PathBuf {
    paths.root().join("ready.json")
}

fn screen(paths: &Paths) -> PathBuf {
    paths.root().join("screen.txt")
}

fn spawn(paths: &Paths, options: &ServerOptions) -> Result<Child, TestError> {
    let of = |what: &'static str| move |error: std::io::Error| TestError::of(what, &error);
    let output = std::fs::File::create(screen(paths)).map_err(of("screen"))?;
    let errors = output.try_clone().map_err(of("screen"))?;
    let _ = std::fs::remove_file(ready_file(paths));
    Command::new(programs::built("borealis-server")?)
        .arg("up")
        .arg("--root")
        .arg(paths.root())
        .args(["--listen", &options.listen.to_string()])
        .args(["--nats-listen", &options.nats_listen.to_string()])
        .arg("--ready-file")
        .arg(ready_file(paths))
        .args(&options.args)
        .envs(options.env.iter().cloned())
        .env("BOREALIS_DEPENDENCIES", absolute(&programs::dependencies()))
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(errors)
        .spawn()
        .map_err(of("borealis-server"))
}

fn absolute(path: &Path) -> PathBuf {
    std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}
