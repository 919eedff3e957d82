//! A whole deployment as people use it: the real server, agents and the real command line.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use borealis_bus_schema::subjects::Service;
use borealis_bus_schema::time::Timestamp;
use borealis_test_support::{ServerOptions, TestServer, eventually_within, programs};
use serde_json::Value;
use tempfile::TempDir;

/// Is the password of the only operator.
const PASSWORD: &str = "correct horse battery staple";

/// Is how long a whole act may take on a machine that does much else.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Is a running agent in a root of its own.
pub struct Agent {
    dir: TempDir,
    child: Option<Child>,
    server_url: String,
    env: Vec<(String, String)>,
}

impl Agent {
    /// Returns the credential with which the agent connects to the bus.
    pub fn bus_jwt(&self) -> String {
        let identity = self.dir.path().join("Certificates/Agent/Identity");
        let found = ["SYSTEM", "CURRENTUSER"]
            .iter()
            .find_map(|context| std::fs::read(identity.join(context).join("credentials.json")).ok());
        let kept: Value = serde_json::from_slice(&found.unwrap()).unwrap();
        kept["credentials"]["bus_jwt"].as_str().unwrap().to_owned()
    }

    /// Starts the agent again after it was killed; its identity is on disk.
    pub fn start(&mut self, code: Option<&str>) {
        let mut command = Command::new(programs::built("borealis-agent").unwrap());
        command
            .args(["run", "--server-url", &self.server_url, "--root"])
            .arg(self.dir.path());
        command.stdin(Stdio::null()).envs(self.env.iter().cloned());
        let screen = std::fs::File::create(self.dir.path().join("screen.txt")).unwrap();
        command.stdout(screen.try_clone().unwrap()).stderr(screen);
        if let Some(code) = code {
            command.env("BOREALIS_INSTALLER_CODE", code);
        }
        self.child = Some(command.spawn().unwrap());
    }

    /// Ends the agent with SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Tells whether the agent's process is still the one that was started.
    pub fn lives(&mut self) -> bool {
        let child = self.child.as_mut();
        child.is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    /// Copies the agent's whole root, as a copied disk would; the copy does not run yet.
    pub fn copy(&self) -> Self {
        let dir = TempDir::with_prefix("borealis-agent-copy-").unwrap();
        let copied = Command::new("cp")
            .arg("-a")
            .arg(self.dir.path().join("."))
            .arg(dir.path())
            .status()
            .unwrap();
        assert!(copied.success());
        Self {
            dir,
            child: None,
            server_url: self.server_url.clone(),
            env: self.env.clone(),
        }
    }

    /// Returns the GUID that the agent keeps.
    pub fn guid(&self) -> String {
        let identity = self.dir.path().join("Certificates/Agent/Identity");
        let found = ["SYSTEM", "CURRENTUSER"]
            .iter()
            .find_map(|context| std::fs::read_to_string(identity.join(context).join("guid.txt")).ok());
        found.unwrap().trim().to_owned()
    }

    /// Returns the agent's root.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Stops the agent's process where it is: it hears nothing and says nothing, and its connection stands.
    pub fn pause(&self) {
        let child = self.child.as_ref().unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    }

    /// Returns what the agent logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("Logs/Agent/agent.log")).unwrap_or_default()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the agent logged:\n{}", self.log());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Is a server with an operator and agents.
pub struct Fleet {
    /// The server.
    pub server: TestServer,
    /// The operator's token.
    pub token: String,
    /// The agents.
    pub agents: Vec<Agent>,
    /// The GUID and the context of the first device.
    first: Option<(String, String)>,
    /// Further variables of its agents.
    env: Vec<(String, String)>,
}

impl Fleet {
    /// Starts a server, sets the operator up, logs in, and enrols agents until all are online.
    pub async fn start(agents: usize) -> Self {
        let dir = TempDir::with_prefix("borealis-").unwrap();
        Self::start_in(dir, agents).await
    }

    /// Starts a server that has no operator yet.
    pub async fn bare() -> Self {
        let dir = TempDir::with_prefix("borealis-").unwrap();
        Self::again(dir, String::new()).await
    }

    /// Does the same in a given root.
    pub async fn start_in(dir: TempDir, agents: usize) -> Self {
        let roots = (0..agents).map(|_| TempDir::with_prefix("borealis-agent-").unwrap());
        Self::start_at(dir, roots.collect()).await
    }

    /// Does the same in given roots, one for each agent.
    pub async fn start_at(dir: TempDir, agents: Vec<TempDir>) -> Self {
        Self::start_with(dir, agents, &ServerOptions::default()).await
    }

    /// Does the same with options of the server, whose variables are the agents' too.
    pub async fn start_with(dir: TempDir, agents: Vec<TempDir>, options: &ServerOptions) -> Self {
        let server = TestServer::start_in(dir, options).await.unwrap();
        let mut fleet = Self {
            server,
            token: String::new(),
            agents: Vec::new(),
            first: None,
            env: options.env.clone(),
        };
        fleet.set_up();
        if !agents.is_empty() {
            let uses = agents.len().to_string();
            let code = fleet.json(&["codes", "create", "--uses", &uses, "--auto-approve", "--json"]);
            let code = code["code"].as_str().unwrap().to_owned();
            for root in agents {
                fleet.add_agent_in(root, &code);
            }
            let devices = fleet.all_online().await;
            let text = |name: &str| devices[0][name].as_str().unwrap().to_owned();
            fleet.first = Some((text("guid"), text("context")));
        }
        fleet
    }

    /// Stops the server, lets `between` work on its root, and starts it again at the same addresses.
    pub async fn restarted(self, between: impl FnOnce(&Path)) -> Self {
        let (status, dir) = self.server.stop().await.unwrap();
        assert!(status.success(), "{status}");
        let dir = dir.unwrap();
        between(dir.path());
        let server = TestServer::start_in(dir, &ServerOptions::default()).await.unwrap();
        Self { server, ..self }
    }

    /// Starts the server again in a root that was set up before.
    pub async fn again(dir: TempDir, token: String) -> Self {
        let server = TestServer::start_in(dir, &ServerOptions::default()).await.unwrap();
        Self {
            server,
            token,
            agents: Vec::new(),
            first: None,
            env: Vec::new(),
        }
    }

    fn set_up(&mut self) {
        let link = self.server.ready().setup_link.clone().unwrap();
        let out = self.with_input(
            &[
                "setup",
                "--link",
                &link,
                "--username",
                "ada",
                "--password-stdin",
                "--json",
            ],
            PASSWORD,
        );
        assert!(out.status.success(), "{}", said(&out));
        self.token = self.log_in();
    }

    /// Logs in and returns the token.
    pub fn log_in(&self) -> String {
        let out = self.with_input(&["login", "--username", "ada", "--password-stdin", "--json"], PASSWORD);
        assert!(out.status.success(), "{}", said(&out));
        let answer: Value = serde_json::from_slice(&out.stdout).unwrap();
        answer["token"].as_str().unwrap().to_owned()
    }

    /// Starts an agent with an installer code.
    pub fn add_agent(&mut self, code: &str) {
        self.add_agent_in(TempDir::with_prefix("borealis-agent-").unwrap(), code);
    }

    /// Starts an agent that reaches the server at another address.
    pub fn add_agent_at(&mut self, url: &str, code: &str) {
        self.add(TempDir::with_prefix("borealis-agent-").unwrap(), url.to_owned(), code);
    }

    fn add_agent_in(&mut self, dir: TempDir, code: &str) {
        let url = self.server.ready().url.clone();
        self.add(dir, url, code);
    }

    fn add(&mut self, dir: TempDir, server_url: String, code: &str) {
        let mut agent = Agent {
            dir,
            child: None,
            server_url,
            env: self.env.clone(),
        };
        agent.start(Some(code));
        self.agents.push(agent);
    }

    /// Waits until as many devices are online as there are agents.
    pub async fn all_online(&self) -> Vec<Value> {
        let wanted = self.agents.len();
        eventually_within("every agent online", PATIENCE, async || {
            let devices = self.devices();
            let online = devices.iter().filter(|device| device["presence"] == "online").count();
            (online == wanted).then_some(devices)
        })
        .await
        .unwrap()
    }

    /// Lists the devices.
    pub fn devices(&self) -> Vec<Value> {
        let out = self.cli(&["devices", "list", "--json"]);
        lines(&out.stdout)
    }

    /// Prepares the command line.
    pub fn command(&self, args: &[&str]) -> Command {
        let ready = self.server.ready();
        let mut command = Command::new(programs::built("borealis").unwrap());
        command
            .args(args)
            .env("BOREALIS_URL", &ready.url)
            .env("BOREALIS_CA", &ready.ca)
            .env("BOREALIS_TOKEN", &self.token);
        command.env_remove("BOREALIS_ROOT");
        command
    }

    /// Runs the command line to its end.
    pub fn cli(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs the command line with something on stdin.
    pub fn with_input(&self, args: &[&str], input: &str) -> Output {
        use std::io::Write as _;
        let mut command = self.command(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if self.token.is_empty() {
            command.env_remove("BOREALIS_TOKEN");
        }
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    /// Runs the command line and reads its one JSON object.
    pub fn json(&self, args: &[&str]) -> Value {
        let out = self.cli(args);
        assert!(out.status.success(), "{args:?}: {}", said(&out));
        serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{args:?}: {}", said(&out)))
    }

    /// Runs `run` of a script on a device to the command line's end.
    pub fn run_on(&self, device: &Value, script: &str, more: &[&str]) -> Output {
        let (guid, context) = (device["guid"].as_str().unwrap(), context_of(device));
        let args = ["run", "--device", guid, "--lang", "sh", "--context", &context, "--json"];
        self.cli(&[&args, more, &["--", script]].concat())
    }

    /// Makes a job of a script on a device and returns its id; nobody waits for it.
    pub fn submit(&self, device: &Value, script: &str, more: &[&str]) -> String {
        let out = self.run_on(device, script, more);
        assert!(out.status.success(), "{}", said(&out));
        let made: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|_| panic!("{}", said(&out)));
        made["job"].as_str().unwrap().to_owned()
    }

    /// Returns the only run of a job.
    pub fn run_of(&self, job: &str) -> Value {
        let mut shown = self.json(&["jobs", "show", job, "--json"]);
        let runs = shown["runs"].as_array_mut().unwrap();
        assert_eq!(runs.len(), 1, "{job}");
        runs.remove(0)
    }

    /// Lists the events in a service's store, as `borealis-server store` exports them.
    pub fn stored(&self, service: Service) -> Vec<Value> {
        let out = Command::new(programs::built("borealis-server").unwrap())
            .args(["store", service.name(), "export", "--root"])
            .arg(self.server.paths().root())
            .output()
            .unwrap();
        assert!(out.status.success(), "{}", said(&out));
        lines(&out.stdout)
    }

    /// Runs a script on the first device, follows it, and returns the exit code of the command line and the last line.
    pub fn run(&self, script: &str, more: &[&str]) -> (i32, Value) {
        let follow = self.follow(script, more);
        let out = follow.child.wait_with_output().unwrap();
        let found = lines(&out.stdout);
        let last = found.into_iter().rfind(|line| line["final"] == true);
        (
            out.status.code().unwrap_or(-1),
            last.unwrap_or_else(|| panic!("no final line: {}", said(&out))),
        )
    }

    /// Starts a followed run of a script on the first device.
    pub fn follow(&self, script: &str, more: &[&str]) -> Followed {
        let (guid, context) = self.first.clone().unwrap();
        let dir = TempDir::with_prefix("borealis-script-").unwrap();
        let file = dir.path().join("script.sh");
        std::fs::write(&file, script).unwrap();
        let file = file.to_str().unwrap().to_owned();
        let mut args = vec![
            "run",
            "--device",
            &guid,
            "--lang",
            "sh",
            "--context",
            &context,
            "--follow",
            "--json",
            "--file",
            &file,
        ];
        args.extend(more);
        let mut command = self.command(&args);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Followed {
            child: command.spawn().unwrap(),
            _dir: dir,
        }
    }
}

/// Holds a link in a file, so that it stands in no list of processes.
pub struct LinkFile {
    at: String,
    _dir: TempDir,
}

impl LinkFile {
    pub fn new(link: &str) -> Self {
        let dir = TempDir::with_prefix("borealis-link-").unwrap();
        let file = dir.path().join("link");
        std::fs::write(&file, link).unwrap();
        Self {
            at: format!("@{}", file.display()),
            _dir: dir,
        }
    }

    /// Returns the words with which an operator sets a password through it.
    pub fn set_up<'a>(&'a self, username: &'a str) -> [&'a str; 7] {
        [
            "setup",
            "--link",
            &self.at,
            "--username",
            username,
            "--password-stdin",
            "--json",
        ]
    }
}

/// Returns the context of a device's agent.
pub fn context_of(device: &Value) -> String {
    device["context"].as_str().unwrap().to_owned()
}

/// Returns an instant that the server recorded.
pub fn instant(recorded: &Value, field: &str) -> Timestamp {
    let text = recorded[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field}: {recorded}"));
    text.parse().unwrap()
}

/// Is a followed run whose command line is still there.
pub struct Followed {
    /// The command line.
    pub child: Child,
    _dir: TempDir,
}

impl Followed {
    /// Waits for its end and returns its exit code and every line it printed.
    pub fn finish(self) -> (i32, Vec<Value>) {
        let out = self.child.wait_with_output().unwrap();
        let code = out.status.code().unwrap_or(-1);
        let found = lines(&out.stdout);
        assert!(!found.is_empty(), "it printed nothing: {}", said(&out));
        (code, found)
    }
}

/// Reads JSON lines, or one JSON array or object with `items`.
pub fn lines(bytes: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(bytes);
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Returns what a program printed, for a failed assertion.
pub fn said(out: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

/// Waits until a file holds something, and returns it.
pub async fn file_says(path: &Path, what: &str) -> String {
    eventually_within(what, PATIENCE, async || {
        let text = std::fs::read_to_string(path).ok()?;
        (!text.is_empty()).then_some(text)
    })
    .await
    .unwrap()
}

/// Returns a path in a folder that script and test share.
pub fn shared(dir: &TempDir, name: &str) -> (PathBuf, String) {
    let path = dir.path().join(name);
    let text = path.to_str().unwrap().to_owned();
    (path, text)
}

/// Makes a client of the gateway that trusts one CA root alone.
pub fn https(ca: &Path) -> reqwest::Client {
    let ca = std::fs::read(ca).unwrap();
    // Another part of the process may have chosen it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(&ca).unwrap()])
        .build()
        .unwrap()
}
