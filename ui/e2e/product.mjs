// Starts and ends the real product for the end-to-end run. Nothing is imitated.

import { spawn } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const REPOSITORY = resolve(dirname(fileURLToPath(import.meta.url)), "..", "..");
const OWN_BIN_DIR = join(REPOSITORY, "target", "release");
export const BIN_DIR = resolve(process.env["BOREALIS_BIN_DIR"] ?? OWN_BIN_DIR);
const DEPENDENCIES = resolve(process.env["BOREALIS_DEPENDENCIES"] ?? join(REPOSITORY, "Dependencies"));

const START_MS = 90_000;
const STOP_MS = 15_000;

/** Waits until the check gives something; says what it waited for when the time is over. */
export async function until(what, check, limitMs) {
  const deadline = Date.now() + limitMs;
  for (;;) {
    const found = await check();
    if (found) return found;
    if (Date.now() > deadline) throw new Error(`waited ${limitMs / 1_000} s in vain for ${what}`);
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

/** The last lines of a file, to say why a program ended. */
export function tailOf(file, lines = 40) {
  return existsSync(file) ? readFileSync(file, "utf8").trimEnd().split("\n").slice(-lines).join("\n") : "(no output)";
}

export class Program {
  /** `script` is what Borealis.sh calls the program and its first argument: the checkout's own ones start as users start them. */
  constructor(name, args, { env = {}, output, input, script }) {
    const path = join(BIN_DIR, name);
    if (!existsSync(path)) throw new Error(`${path} is missing: build it, or name its folder in BOREALIS_BIN_DIR`);
    this.name = name;
    this.output = output;
    const file = openSync(output, "a", 0o600);
    const command =
      script && BIN_DIR === OWN_BIN_DIR
        ? [join(REPOSITORY, "Borealis.sh"), ...script, ...args.slice(1)]
        : [path, ...args];
    this.child = spawn(command[0], command.slice(1), {
      stdio: [input === undefined ? "ignore" : "pipe", file, file],
      env: { ...process.env, BOREALIS_DEPENDENCIES: DEPENDENCIES, ...env },
    });
    closeSync(file);
    this.child.stdin?.end(input);
    this.ended = once(this.child, "exit").catch((error) => [error]);
  }

  get running() {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  assertRunning() {
    if (!this.running) {
      throw new Error(`${this.name} ended (${this.child.exitCode ?? this.child.signalCode}):\n${tailOf(this.output)}`);
    }
  }

  /** What it said so far. */
  said() {
    return readFileSync(this.output, "utf8");
  }

  /** Waits for its end and returns its exit code. */
  async end() {
    await this.ended;
    return this.child.exitCode;
  }

  /** Asks it to stop; after the limit it is killed, and that is an error. */
  async stop() {
    if (!this.running) return;
    this.child.kill("SIGTERM");
    let killed = false;
    const timer = setTimeout(() => {
      killed = true;
      this.child.kill("SIGKILL");
    }, STOP_MS);
    await this.ended;
    clearTimeout(timer);
    if (killed) throw new Error(`${this.name} did not stop within ${STOP_MS / 1_000} s of SIGTERM`);
  }
}

/** Starts `borealis-server up` on free ports under a fresh root and reads its ready file. */
export async function startServer(folder) {
  const root = join(folder, "server");
  mkdirSync(root, { mode: 0o700 });
  const readyFile = join(folder, "ready.json");
  const server = new Program(
    "borealis-server",
    [
      "up",
      "--root",
      root,
      "--logs",
      join(folder, "logs"),
      "--listen",
      "127.0.0.1:0",
      // A passkey is for a name.
      "--public-name",
      "localhost",
      "--nats-listen",
      "127.0.0.1:0",
      "--ready-file",
      readyFile,
    ],
    { output: join(folder, "server.out"), script: ["server"] },
  );
  await until(
    "the server's ready file",
    () => {
      server.assertRunning();
      return existsSync(readyFile);
    },
    START_MS,
  );
  const mode = statSync(readyFile).mode & 0o777;
  const ready = JSON.parse(readFileSync(readyFile, "utf8"));
  return { server, ready, mode };
}

/** Starts an agent; the code goes through its environment. */
export function startAgent(folder, name, serverUrl, installerCode) {
  const root = join(folder, name);
  mkdirSync(root, { mode: 0o700, recursive: true });
  return new Program("borealis-agent", ["run", "--server-url", serverUrl, "--root", root], {
    env: installerCode ? { BOREALIS_INSTALLER_CODE: installerCode } : {},
    output: join(folder, `${name}.out`),
    script: ["agent", "launch"],
  });
}

/** Starts the command line's program; what it needs to know stands in its environment, a password comes on its stdin. */
export function startCli(folder, name, ready, args, input, env = {}) {
  return new Program("borealis", args, {
    env: { BOREALIS_URL: ready.url, BOREALIS_CA: ready.ca, BOREALIS_ROOT: join(folder, "cli"), ...env },
    output: join(folder, `${name}.out`),
    input,
  });
}

/** The command lines of all processes that name the folder. */
export function processesOf(folder) {
  const lines = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ");
      } catch {
        return ""; // It ended meanwhile.
      }
    });
  return lines.filter((line) => line.includes(folder));
}

/** The SPKI pin of the deployment's own CA: the browser trusts this key, and no other without a public CA. */
export function spkiPin(caFile) {
  const key = new X509Certificate(readFileSync(caFile)).publicKey.export({ type: "spki", format: "der" });
  return createHash("sha256").update(key).digest("base64");
}
