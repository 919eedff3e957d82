// The end-to-end run: the real server, a real agent, a real browser.
//
// It does what a new user does: set the first password through the link, log in, mint an installer code, approve an
// agent, see it on-line, run a script and watch its output come, see the agent go, invite somebody, make an API token, read
// the audit, log out. Pictures of the pages go to the folder named in BOREALIS_E2E_SHOTS.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { authenticator, inspect, openBrowser } from "./browser.mjs";
import { processesOf, spkiPin, startAgent, startCli, startServer, tailOf, until } from "./product.mjs";

const USERNAME = "ada";
const PASSWORD = "violet-otter-plays-17-drums";
const INVITED = "bob";
const INVITED_PASSWORD = "amber-heron-counts-29-lamps";
const SLOW_MS = 60_000;
/** How the command line ends where a right is missing. */
const NOT_PERMITTED = 77;

const folder = mkdtempSync(join(tmpdir(), "borealis-e2e-"));
const shots = process.env["BOREALIS_E2E_SHOTS"] ?? join(folder, "shots");
mkdirSync(shots, { recursive: true });

let passed = 0;
let failed = 0;

/** One step; after a failed one the rest has no ground to stand on, so it ends the run. */
async function step(name, act) {
  const start = Date.now();
  try {
    await act();
    passed += 1;
    console.log(`ok    ${name} (${Date.now() - start} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL  ${name}\n${error?.stack ?? error}`);
    throw error;
  }
}

const programs = [];
let browser;
let opened;
const accessibility = [];

async function look(name) {
  accessibility.push(...(await inspect(opened.page, shots, name)));
}

async function scenario() {
  let ready;
  await step("the server comes up and writes its ready file", async () => {
    const started = await startServer(folder);
    programs.push(started.server);
    ready = started.ready;
    assert.match(ready.url, /^https:\/\/[^/]+:\d+$/);
    assert.match(ready.nats_url, /^tls:\/\//);
    assert.ok(ready.setup_link.includes("/setup#"), "the set-up link carries its secret after #");
    assert.equal(started.mode, 0o600);
  });

  const origin = new URL(ready.setup_link).origin;
  opened = await openBrowser(spkiPin(ready.ca), origin);
  browser = opened.browser;
  const { page } = opened;
  page.setDefaultTimeout(SLOW_MS);
  const button = (name, within = page) => within.getByRole("button", { name, exact: true });
  const nav = (name) => page.getByRole("navigation", { name: "Main" }).getByRole("link", { name });

  await step("without a session every page leads to the log-in", async () => {
    await page.goto(`${origin}/devices`);
    await button("Log in").waitFor();
    await look("login");
  });

  await step("the link sets the first operator's password, and logs in", async () => {
    await page.goto(ready.setup_link);
    await page.getByLabel("User name").fill(USERNAME);
    await page.getByLabel("Password", { exact: true }).fill("password1234");
    await page.getByLabel("Password again").fill("password1234");
    assert.ok(await button("Set password").isDisabled(), "a common password is refused");
    assert.ok(!page.url().includes("#"), "the secret is taken out of the address bar");
    await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await page.getByLabel("Password again").fill(PASSWORD);
    await look("setup");
    await button("Set password").click();
    await page.getByRole("heading", { name: "Home" }).waitFor();
  });

  await step("the link works once", async () => {
    const stranger = await browser.newContext();
    const other = await stranger.newPage();
    other.setDefaultTimeout(SLOW_MS);
    await other.goto(ready.setup_link);
    await other.getByLabel("User name").fill("eve");
    await other.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await other.getByLabel("Password again").fill(PASSWORD);
    await button("Set password", other).click();
    await other.getByText("setup_closed").waitFor();
    await stranger.close();
  });

  await step("log out, be refused with a wrong password, log in again", async () => {
    await button(`Operator ${USERNAME}`).click();
    await button("Log out").click();
    await button("Log in").waitFor();
    await page.getByLabel("User name").fill(USERNAME);
    await page.getByLabel("Password", { exact: true }).fill(`${PASSWORD}x`);
    await button("Log in").click();
    await page.getByText("login_failed").waitFor();
    await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await button("Log in").click();
    await page.getByRole("heading", { name: "Home" }).waitFor();
  });

  await step("set up an authenticator app, log in and change the password by its codes, take it away again", async () => {
    const factorDialog = async () => {
      await button(`Operator ${USERNAME}`).click();
      await button("Second factor").click();
      return page.getByRole("dialog", { name: "Second factor" });
    };
    await button("Set up an app", await factorDialog()).click();
    await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await button("Go on").click();
    const secret = (await page.getByTestId("totp-secret").textContent()).trim();
    await look("factor");
    await page.getByLabel("Code that the app shows").fill(totp(secret, 0));
    await button("Confirm").click();
    await page.getByText("Log-ins take a code of your authenticator app.").waitFor();
    await button("Make recovery codes").click();
    await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await page.getByLabel("Code of the app").fill(totp(secret, 1));
    await button("Go on").click();
    const codes = (await page.getByTestId("recovery-codes").textContent()).trim().split("\n");
    assert.equal(codes.length, 10);
    await look("recovery-codes");
    await button("Done").click();
    await button(`Operator ${USERNAME}`).click();
    await button("Log out").click();
    await page.getByLabel("User name").fill(USERNAME);
    await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await button("Log in").click();
    await page.getByLabel("Code", { exact: true }).fill("000000");
    await look("login-code");
    await button("Go on").click();
    await page.getByText("factor_invalid").waitFor();
    await page.getByLabel("Code", { exact: true }).fill(codes[0]);
    await button("Go on").click();
    await page.getByRole("heading", { name: "Home" }).waitFor();
    await button(`Operator ${USERNAME}`).click();
    await page.getByRole("link", { name: "Your account" }).click();
    await button("Change password").click();
    const change = page.getByRole("dialog", { name: "Change your password" });
    await change.getByLabel("Password now").fill(PASSWORD);
    await change.getByLabel("Code of the app").fill(codes[1]);
    await change.getByLabel("New password", { exact: true }).fill(PASSWORD);
    await change.getByLabel("New password again").fill(PASSWORD);
    await button("Change password", change).click();
    await page.getByText(/^The password is the new one\./).waitFor();
    const dialog = await factorDialog();
    await page.getByText("8 recovery codes are left.").waitFor();
    await button("Take away", dialog).click();
    await button("Set up an app", dialog).waitFor();
    await button("Close", dialog).last().click();
  });

  await step("add a passkey, log in with it alone, take it away: it opens nothing any more", async () => {
    const account = async () => {
      await button(`Operator ${USERNAME}`).click();
      await page.getByRole("link", { name: "Your account" }).click();
    };
    const logOut = async () => {
      await button(`Operator ${USERNAME}`).click();
      await button("Log out").click();
      await button("Use a passkey").waitFor();
    };
    const owner = await authenticator(opened);
    await account();
    await button("Add passkey").click();
    const dialog = page.getByRole("dialog", { name: "Add a passkey" });
    await dialog.getByLabel("Name").fill("Laptop");
    await look("passkey-add");
    await button("Add passkey", dialog).click();
    await page.getByRole("row", { name: /^Laptop localhost/ }).waitFor();
    await look("passkeys");
    await button("Add passkey").click();
    await dialog.getByLabel("Name").fill("Twice");
    await button("Add passkey", dialog).click();
    await dialog.getByText("This authenticator holds a passkey of yours already.").waitFor();
    await button("Cancel", dialog).click();

    // A log-in goes on where one was.
    const back = () => page.getByRole("heading", { name: "Your account" }).waitFor();
    await logOut();
    await button("Use a passkey").click();
    await back();
    await page.getByRole("row", { name: /^Laptop localhost/ }).waitFor();
    assert.equal(await page.getByRole("cell", { name: "Never" }).count(), 0, "its use is shown");

    await logOut();
    await owner.recognised(false);
    await button("Use a passkey").click();
    await page.getByText("passkey_not_given").waitFor();
    await owner.recognised(true);
    await button("Use a passkey").click();
    await back();
    await button("Remove Laptop").click();
    await page.getByText("No passkeys").waitFor();
    await logOut();
    await button("Use a passkey").click();
    await page.getByText("passkey_unknown").waitFor();
    await look("login-passkey");
    await page.getByLabel("User name").fill(USERNAME);
    await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
    await button("Log in").click();
    await back();
    await owner.away();
    await nav("Home").click();
    await page.getByRole("heading", { name: "Home" }).waitFor();
  });

  await step("a change without the session key's signature is refused", async () => {
    const code = await page.evaluate(async () => {
      const response = await fetch("/api/v1/codes", {
        method: "POST",
        headers: { "content-type": "application/json", "idempotency-key": "0".repeat(32) },
        body: JSON.stringify({ site: "default", uses: 1, lifetime_ms: 3_600_000, auto_approve: false }),
      });
      return (await response.json()).code;
    });
    assert.equal(code, "signature_missing");
  });

  let installerCode;
  await step("mint an installer code, shown once", async () => {
    await nav(/Enrolment/).click();
    await page.getByText("Nobody waits for approval").waitFor();
    await button("Mint code").click();
    const dialog = page.getByRole("dialog");
    await look("mint");
    await button("Mint code", dialog).click();
    installerCode = (await page.getByTestId("minted-code").textContent()).trim();
    assert.match(installerCode, /^BRL1-[A-Z2-7-]+$/);
    await look("minted");
    await button("Done").click();
    await page.getByText(installerCode).waitFor({ state: "detached" });
    await page.getByRole("cell", { name: "1 of 1" }).waitFor();
  });

  let agent;
  let hostname;
  await step("a second agent asks to join and stands in the approval queue", async () => {
    agent = startAgent(folder, "agent", ready.url, installerCode);
    programs.push(agent);
    const approve = button("Approve");
    await until(
      "the enrolment request",
      async () => {
        agent.assertRunning();
        return approve.isVisible();
      },
      SLOW_MS,
    );
    const row = page.getByRole("listitem").filter({ has: approve });
    hostname = await row.getAttribute("aria-label");
    assert.ok(hostname, "the queue names the host");
    assert.match(await row.textContent(), /[0-9a-f]{64}/, "the queue shows the fingerprint");
    await nav(/1 approval waits/).waitFor();
    await look("approvals");
  });

  await step("approve it; the device appears and is on-line without a reload", async () => {
    await nav(/Devices/).click();
    await page.getByText("No devices yet").waitFor();
    await nav(/Enrolment/).click();
    await button("Approve").click();
    await page.getByText("Nobody waits for approval").waitFor();
    await nav(/Devices/).click();
    const row = page.getByRole("row", { name: hostname });
    await row.getByText("Online", { exact: true }).waitFor();
    await look("devices");
    for (const width of [800, 1_024, 1_280, 1_440]) {
      await page.setViewportSize({ width, height: 860 });
      assert.deepEqual(await leftEdges(row.getByRole("gridcell")), await leftEdges(page.getByRole("columnheader")));
    }
  });

  await step("the device page shows what the agent told", async () => {
    await page.getByRole("row", { name: hostname }).getByRole("link", { name: hostname }).click();
    await page.getByRole("heading", { name: hostname }).waitFor();
    await page.getByRole("tab", { name: "Hardware" }).click();
    await page.getByRole("heading", { name: "Memory" }).waitFor();
    await look("device");
  });

  /** Runs the command line's program to its end. */
  async function cli(name, args, input) {
    const program = startCli(folder, name, ready, args, input);
    programs.push(program);
    assert.equal(await program.end(), 0, program.said());
    return program.said();
  }

  await step("the command line logs in beside the browser and sees the same device", async () => {
    await cli("cli-login", ["login", "--username", USERNAME, "--password-stdin"], `${PASSWORD}\n`);
    const devices = (await cli("cli-devices", ["devices", "list", "--json"])).trim().split("\n");
    assert.deepEqual(devices.map((line) => JSON.parse(line).hostname), [hostname]);
  });

  const gate = join(folder, "gate");
  await step("type a script, run it, and watch its output in the page and on the command line", async () => {
    await button("Run").click();
    await page.getByText("1 device: 1 online.").waitFor();
    const editor = page.getByRole("textbox", { name: "Script" });
    await editor.click();
    const lines = [
      "echo first-line-of-the-script",
      "echo a-word-of-warning >&2",
      `while [ ! -e '${gate}' ]; do sleep 0.05; done`,
      "echo after-the-gate",
      "exit 0",
    ];
    await page.keyboard.insertText(`${lines.join("\n")}\n`);
    await look("run");
    await button("Run").click();
    const stdout = page.getByRole("log", { name: "stdout" });
    await stdout.getByText("first-line-of-the-script").waitFor();
    await page.getByRole("log", { name: "stderr" }).getByText("a-word-of-warning").waitFor();
    assert.ok(!existsSync(gate), "the line was on the page before the script could end");
    assert.ok(!(await stdout.textContent()).includes("after-the-gate"));
    await page.getByTestId("run-state").getByText("Running", { exact: true }).waitFor();
    await look("run-live");
    const job = new URL(page.url()).pathname.split("/").at(-1);
    const follower = startCli(folder, "cli-follow", ready, ["jobs", "follow", job]);
    programs.push(follower);
    await until(
      "the line on the command line",
      () => {
        follower.assertRunning();
        return follower.said().includes("first-line-of-the-script\n");
      },
      SLOW_MS,
    );
    assert.ok(!follower.said().includes("after-the-gate"), "the script waits");
    writeFileSync(gate, "");
    await stdout.getByText("after-the-gate").waitFor();
    await page.getByTestId("run-state").getByText("Succeeded", { exact: true }).waitFor();
    await until("the exit code", async () => (await page.getByTestId("exit-code").textContent()) === "0", SLOW_MS);
    assert.ok(!(await stdout.textContent()).includes("a-word-of-warning"), "the streams are apart");
    assert.equal(await follower.end(), 0, "the command line ends with the script's exit code");
    assert.match(follower.said(), /after-the-gate\n[^]*exit code 0/);
    await look("run-done");
  });

  await step("the whole output is there again after a reload", async () => {
    await page.reload();
    const stdout = page.getByRole("log", { name: "stdout" });
    await stdout.getByText("after-the-gate").waitFor();
    assert.equal(await stdout.textContent(), "first-line-of-the-script\nafter-the-gate");
  });

  await step("a failing script tells its exit code", async () => {
    await nav("Devices").click();
    await page.getByRole("checkbox", { name: `Select ${hostname}` }).check();
    await page.getByRole("button", { name: /^Run on 1/ }).click();
    await page.getByRole("textbox", { name: "Script" }).click();
    await page.keyboard.insertText("echo so-it-goes; exit 7\n");
    await page.keyboard.press("Control+Enter");
    await page.getByTestId("run-state").getByText("Failed", { exact: true }).waitFor();
    await until("the exit code", async () => (await page.getByTestId("exit-code").textContent()) === "7", SLOW_MS);
    await page.getByRole("log", { name: "stdout" }).getByText("so-it-goes").waitFor();
  });

  await step("what failed runs again exactly as it was asked for; what printed the same is one line", async () => {
    const first = new URL(page.url()).pathname;
    await button("Run again on 1 device").click();
    assert.equal(await page.getByTestId("review-script").textContent(), "echo so-it-goes; exit 7\n");
    await look("rerun");
    await button("Run exactly this again").click();
    await page.waitForURL((url) => url.pathname !== first);
    await page.getByTestId("run-state").getByText("Failed", { exact: true }).waitFor();
    await page.goto(`${page.url().split("?")[0]}?folded=true`);
    await page.getByRole("row", { name: "1 run, Failed" }).waitFor();
    await look("folded");
  });

  await step("a running script is cancelled", async () => {
    await nav("Devices").click();
    await page.getByRole("row", { name: hostname }).getByRole("link", { name: hostname }).click();
    await button("Run").click();
    await page.getByRole("textbox", { name: "Script" }).click();
    const pidFile = join(folder, "pid");
    await page.keyboard.insertText(`echo $$ >'${pidFile}'; echo waiting-for-the-end; exec sleep 600\n`);
    await button("Run").click();
    await page.getByRole("log", { name: "stdout" }).getByText("waiting-for-the-end").waitFor();
    await button("Cancel run").click();
    await page.getByTestId("run-state").getByText("Cancelled", { exact: true }).waitFor();
    const pid = Number(readFileSync(pidFile, "utf8"));
    assert.throws(() => process.kill(pid, 0), { code: "ESRCH" }, "the script's process is gone");
  });

  await step("a site's devices that pass a filter: tried first, then run on", async () => {
    await page.goto(`${origin}/run`);
    await page.getByText("Sites", { exact: true }).click();
    await page.getByRole("combobox", { name: "Sites" }).click();
    await page.getByRole("option", { name: "default" }).click();
    await page.keyboard.press("Escape");
    await page.getByRole("option").first().waitFor({ state: "hidden" });
    const filter = page.getByLabel("Only those with");
    await filter.fill("os = ");
    await page.getByText(/^at character 5 of the filter a value was expected/).waitFor();
    await look("run-filter");
    await filter.fill("os = linux and tag = web");
    await page.getByText("No active device is meant.").waitFor();
    await filter.fill("os = linux and online");
    await page.getByText("1 device: 1 online.").waitFor();
    await page.getByRole("combobox", { name: "Run as" }).click();
    await page.getByRole("option", { name: "Current user" }).click();
    await page.getByText("1 device: 1 online. 1 device cannot run it.").waitFor();
    await button("Dry run").click();
    await page.getByRole("row", { name: new RegExp(`^${escape(hostname)}: its agent acts as SYSTEM`) }).waitFor();
    await look("dry-run");
    await page.keyboard.press("Escape");
    await page.getByRole("combobox", { name: "Run as" }).click();
    await page.getByRole("option", { name: "System" }).click();
    await page.getByText("1 device: 1 online.", { exact: true }).waitFor();
    await page.getByRole("textbox", { name: "Script" }).click();
    await page.keyboard.insertText("echo by-site-and-filter\n");
    await look("run-sites");
    await button("Run").click();
    await page.getByRole("log", { name: "stdout" }).getByText("by-site-and-filter").waitFor();
    await page.getByTestId("run-state").getByText("Succeeded", { exact: true }).waitFor();
  });

  await step("home names the job that failed; jobs lists all five", async () => {
    await nav("Home").click();
    await page.getByRole("region", { name: "Jobs that need a look" }).getByText("Failed").first().waitFor();
    await look("home");
    await nav("Jobs").click();
    await page.getByRole("row", { name: /Succeeded/ }).first().waitFor();
    assert.equal(await page.getByRole("row", { name: /Bash script/ }).count(), 5);
    await look("jobs");
  });

  await step("the command menu finds the device", async () => {
    await page.keyboard.press("Control+k");
    await page.getByRole("textbox", { name: "Pages and devices" }).fill(hostname);
    await page.getByRole("button", { name: new RegExp(`^${escape(hostname)}`) }).waitFor();
    await look("palette");
    await page.keyboard.press("Escape");
  });

  await step("the agent stops; its presence goes off-line on the open page", async () => {
    await nav("Devices").click();
    const row = page.getByRole("row", { name: hostname });
    await row.getByText("Online", { exact: true }).waitFor();
    await agent.stop();
    await row.getByText("Offline", { exact: true }).waitFor();
  });

  await step("the same agent comes back by itself, with no code", async () => {
    agent = startAgent(folder, "agent", ready.url);
    programs.push(agent);
    await page.getByRole("row", { name: hostname }).getByText("Online", { exact: true }).waitFor();
  });

  await step("a schedule: see when it fires as one types, let it fire, run it now, pause it", async () => {
    await nav("Schedules").click();
    await page.getByText("No schedules yet").waitFor();
    await button("Make schedule").click();
    await page.getByLabel("Name").fill("hourly word");
    await page.getByLabel("Cron text").fill("0 0 30 2 *");
    await page.getByText(/^This fires never:/).waitFor();
    await page.getByLabel("Cron text").fill("0 9 * * FRI");
    await page.getByTestId("firings").getByRole("listitem").nth(19).waitFor();
    await page.getByRole("combobox", { name: "Fires" }).click();
    await page.getByRole("option", { name: "Every hour" }).click();
    await page.getByLabel("Cron text").waitFor({ state: "detached" });
    await page.getByText("All devices", { exact: true }).click();
    await page.getByRole("textbox", { name: "Script" }).click();
    await page.keyboard.insertText("echo on-the-clock\n");
    await page.getByRole("combobox", { name: "If late" }).click();
    await page.getByRole("option", { name: "Run each of the newest" }).click();
    await page.getByLabel("At most", { exact: true }).fill("3");
    const settled = page.locator('[data-testid="firings"][aria-busy="false"]');
    await page.getByText("Last month", { exact: true }).click();
    await settled.getByRole("listitem").nth(199).waitFor();
    await page.getByText("Next times", { exact: true }).click();
    await settled.getByRole("listitem").nth(199).waitFor({ state: "detached" });
    await settled.getByRole("listitem").nth(19).waitFor();
    await look("schedule-new");
    await button("Make schedule").click();
    await page.getByRole("heading", { name: "hourly word" }).waitFor();
    await page.getByRole("row", { name: /Ran .* on 1 device$/ }).getByRole("link").click();
    await page.getByRole("log", { name: "stdout" }).getByText("on-the-clock").waitFor();
    await page.goBack();
    await button("Run now").click();
    assert.equal(await page.getByTestId("review-script").textContent(), "echo on-the-clock\n");
    await look("schedule-run");
    await button("Run exactly this").click();
    await page.getByRole("log", { name: "stdout" }).getByText("on-the-clock").waitFor();
    await page.goBack();
    await page.getByRole("row", { name: new RegExp(`Ran at once by ${USERNAME}`) }).waitFor();
    await page.getByText("Run the newest 3, each", { exact: true }).waitFor();
    await button("Skip next").click();
    await page.getByText("The next firing is left out.").waitFor();
    await button("Pause").click();
    await button("Resume").waitFor();
    await look("schedule");
    await nav("Schedules").click();
    await page.getByRole("row", { name: "hourly word, Paused" }).waitFor();
    await look("schedules");
  });

  await step("the library: keep a script, publish exactly what is shown, run it with a value, change it and compare", async () => {
    await nav("Library").click();
    await page.getByText("Nothing in the library yet").waitFor();
    await look("library-none");
    await button("Make assembly").click();
    await page.getByLabel("Name", { exact: true }).fill("greet");
    await page.getByLabel("Description").fill("Says a word to whoever is named");
    await page.getByLabel("Category").fill("words");
    await page.getByLabel("Tags").fill("nightly, daily");
    await button("Add variable").click();
    const variable = page.getByRole("group", { name: "Variable" });
    await variable.getByLabel("Variable", { exact: true }).fill("who comes");
    await page.getByRole("group", { name: "who comes" }).getByLabel("Default").fill("nobody");
    await page.getByRole("textbox", { name: "Script", exact: true }).click();
    await page.keyboard.insertText('echo "good day, $WHO_COMES"\n');
    await page.getByLabel("Note").fill("the first");
    await look("library-new");
    await button("Save version").click();
    await page.getByRole("heading", { name: "greet" }).waitFor();
    assert.equal(await button("Run").count(), 0, "a draft does not run");
    const digest = await page.getByTestId("assembly-digest").textContent();
    const told = JSON.parse(await cli("cli-library", ["library", "show", "greet", "--json"]));
    assert.equal(digest, told.version.digest, "page and command line name the same");
    await button("Publish version 1").click();
    await page.getByText("Version 1 is what runs from now on.").waitFor();
    await button("Run").click();
    await page.getByText("All devices", { exact: true }).click();
    await page.getByText("1 device: 1 online.", { exact: true }).waitFor();
    await page.getByLabel("who comes").fill('$(id) "; echo no');
    await look("library-run");
    await button("Run").click();
    const stdout = page.getByRole("log", { name: "stdout" });
    await stdout.getByText('good day, $(id) "; echo no', { exact: true }).waitFor();
    await page.getByTestId("run-state").getByText("Succeeded", { exact: true }).waitFor();

    await nav("Library").click();
    await page.getByRole("row", { name: "greet" }).getByRole("link", { name: "greet" }).click();
    await button("Edit").click();
    await page.getByRole("textbox", { name: "Script", exact: true }).click();
    await page.keyboard.press("Control+End");
    await page.keyboard.insertText("echo and-good-night\n");
    await page.getByLabel("Note").fill("says good night too");
    await look("library-edit");
    await button("Save version").click();
    await page.getByText("says good night too").waitFor();
    await look("library-assembly");
    await page.getByRole("link", { name: "Version 2: Compare with version 1" }).click();
    await page.getByTestId("diff").getByText("+echo and-good-night").waitFor();
    await look("library-diff");
    await nav("Library").click();
    await page.getByRole("textbox", { name: "Search names, words and scripts" }).fill("good-night");
    await page.getByRole("row", { name: "greet" }).getByText("1, draft 2").waitFor();
    await look("library");
    await page.getByRole("row", { name: "greet" }).getByRole("link", { name: "greet" }).click();
    await page.getByRole("link", { name: "Version 1", exact: true }).click();
    await button("Schedule").click();
    await page.getByLabel("who comes").fill("the night");
    await page.getByText("All devices", { exact: true }).click();
    await page.getByRole("combobox", { name: "Fires" }).click();
    await page.getByRole("option", { name: "Every hour" }).click();
    await page.getByTestId("firings").getByRole("listitem").nth(19).waitFor();
    await look("library-schedule");
    await button("Make schedule").click();
    await page.getByRole("heading", { name: "greet" }).waitFor();
    await page.getByRole("row", { name: /Ran .* on 1 device$/ }).getByRole("link").click();
    await stdout.getByText("good day, the night", { exact: true }).waitFor();
    await page.goBack();
    await button("Run now").click();
    assert.equal(await page.getByTestId("review-script").textContent(), 'echo "good day, $WHO_COMES"\n');
    await page.getByText('who comes="the night"', { exact: true }).waitFor();
    await look("library-run-now");
    await page.keyboard.press("Escape");
    await button("Pause").click();
    await button("Resume").waitFor();
  });

  let invitation;
  await step("invite an operator by a link that is shown once", async () => {
    await nav("Operators").click();
    await button("Invite").click();
    const dialog = page.getByRole("dialog", { name: "Invite an operator" });
    await dialog.getByLabel("Name").fill(INVITED);
    await dialog.getByRole("checkbox", { name: "viewer" }).check();
    await look("invite");
    await button("Invite", dialog).click();
    invitation = (await page.getByTestId("operator-link").textContent()).trim();
    assert.ok(invitation.startsWith(`${origin}/setup#`));
    await look("operator-link");
    await button("Done").click();
    await page.getByText(invitation).waitFor({ state: "detached" });
    assert.ok(await button("Invite").evaluate((all) => all === document.activeElement), "the focus is back where it was");
    await page.getByRole("row", { name: new RegExp(`^${INVITED} Invited viewer`) }).waitFor();
    await look("operators");
  });

  let guest;
  await step("who was invited sets a password in another browser, and sees what a viewer may", async () => {
    const context = await browser.newContext();
    guest = await context.newPage();
    guest.setDefaultTimeout(SLOW_MS);
    await guest.goto(invitation);
    await guest.getByLabel("User name").fill(INVITED);
    await guest.getByLabel("Password", { exact: true }).fill(INVITED_PASSWORD);
    await guest.getByLabel("Password again").fill(INVITED_PASSWORD);
    await button("Set password", guest).click();
    await guest.getByRole("heading", { name: "Home" }).waitFor();
    const links = guest.getByRole("navigation", { name: "Main" }).getByRole("link");
    assert.deepEqual(await links.allTextContents(), ["Home", "Devices", "Jobs", "Schedules", "Library", "Enrolment"]);
    await links.filter({ hasText: "Devices" }).click();
    await guest.getByRole("row", { name: hostname }).getByRole("link", { name: hostname }).click();
    await guest.getByRole("heading", { name: hostname }).waitFor();
    assert.ok(await button("Run", guest).isDisabled(), "a viewer runs nothing");
    assert.equal(await button("Quarantine", guest).count(), 0);
    await guest.goto(`${origin}/audit`);
    await guest.getByText("You do not hold the right audit.read.").waitFor();
    const code = await guest.evaluate(async () => (await (await fetch("/api/v1/users")).json()).code);
    assert.equal(code, "right_missing");
  });

  await step("make a site, and a role that reaches it alone", async () => {
    await page.getByRole("tab", { name: "Sites" }).click();
    await button("Make site").click();
    const site = page.getByRole("dialog", { name: "Make a site" });
    await site.getByLabel("Name").fill("oslo");
    await site.getByLabel("Description").fill("The northern office");
    await button("Make site", site).click();
    await page.getByRole("row", { name: /^oslo The northern office/ }).waitFor();
    await look("sites");
    await page.getByRole("tab", { name: "Roles" }).click();
    await button("Make role").click();
    const role = page.getByRole("dialog", { name: "Make a role" });
    await role.getByLabel("Name").fill("night-shift");
    await role.getByRole("checkbox", { name: "jobs.run" }).check();
    await role.getByRole("combobox", { name: "Sites of jobs.run" }).click();
    await page.getByRole("option", { name: "oslo" }).click();
    await page.keyboard.press("Tab");
    await page.getByRole("option").first().waitFor({ state: "hidden" });
    await look("role");
    await button("Make role", role).click();
    await page.getByRole("row", { name: /^night-shift .*jobs\.run@oslo/ }).waitFor();
    await look("roles");
  });

  await step("end a session singly: the page that it was for leads to the log-in", async () => {
    await button(`Operator ${USERNAME}`).click();
    await page.getByRole("link", { name: "Your account" }).click();
    await page.getByRole("switch", { name: "Sessions: Everybody's" }).check();
    await page.getByRole("button", { name: new RegExp(`^End the session of ${INVITED} from`) }).click();
    await page.getByText("The session is over.").waitFor();
    await guest.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Devices" }).click();
    await button("Log in", guest).waitFor();
  });

  await step("a role with a limit: whoever has it asks, another operator approves exactly that, and then it runs", async () => {
    await nav("Operators").click();
    await page.getByRole("tab", { name: "Roles" }).click();
    await button("Make role").click();
    const role = page.getByRole("dialog", { name: "Make a role" });
    await role.getByLabel("Name").fill("careful");
    for (const right of ["devices.read", "jobs.read", "jobs.run", "jobs.cancel"]) {
      await role.getByRole("checkbox", { name: right }).check();
    }
    await role.getByLabel("Devices of a job without approval").fill("0");
    await look("role-limit");
    await button("Make role", role).click();
    await page.getByRole("row", { name: /^careful .*jobs\.run.* 0 devices/ }).waitFor();
    await page.getByRole("tab", { name: "Operators" }).click();
    await button(`Manage ${INVITED}`).click();
    const user = page.getByRole("dialog", { name: `Operator ${INVITED}` });
    await user.getByRole("checkbox", { name: "careful" }).check();
    await button("Save roles", user).click();
    await page.getByText(`The roles of ${INVITED} are saved.`).waitFor();
    await button("Close", user).last().click();

    await guest.getByLabel("User name").fill(INVITED);
    await guest.getByLabel("Password", { exact: true }).fill(INVITED_PASSWORD);
    await button("Log in", guest).click();
    const guestNav = guest.getByRole("navigation", { name: "Main" });
    await guestNav.getByRole("link", { name: "Devices" }).click();
    await guest.getByRole("checkbox", { name: `Select ${hostname}` }).check();
    await guest.getByRole("button", { name: /^Run on 1/ }).click();
    await guest.getByText("Waits for another operator's approval: you may run on 0 devices alone.").waitFor();
    await guest.getByRole("textbox", { name: "Script" }).click();
    await guest.keyboard.insertText("echo two-of-us-agreed\n");
    await button("Run", guest).click();
    await guest.getByText(/Nobody approves what they asked for themselves/).waitFor();
    assert.equal(await guest.getByRole("button", { name: /^Approve/ }).count(), 0, "one's own job is not approved");
    const path = new URL(guest.url()).pathname;

    await nav("Home").click();
    await page.getByRole("region", { name: "Jobs that wait for another operator's approval" }).getByRole("link").click();
    await page.waitForURL(`**${path}`);
    assert.equal(await page.getByTestId("review-script").textContent(), "echo two-of-us-agreed\n");
    const digest = await page.getByTestId("review-digest").textContent();
    await look("review");
    const printed = JSON.parse(await cli("cli-review", ["jobs", "review", path.split("/").at(-1), "--json"]));
    assert.equal(digest, printed.review, "page and command line name the same");
    await button("Approve on 1 device").click();
    await page.getByRole("log", { name: "stdout" }).getByText("two-of-us-agreed").waitFor();
    await page.getByText(`approved by ${USERNAME}`).waitFor();
    await guest.getByRole("log", { name: "stdout" }).getByText("two-of-us-agreed").waitFor();
    await button(`Operator ${INVITED}`, guest).click();
    await button("Log out", guest).click();
    await button("Log in", guest).waitFor();
    await button(`Operator ${USERNAME}`).click();
    await page.getByRole("link", { name: "Your account" }).click();
  });

  await step("an API token made in the page serves the command line, until it is revoked", async () => {
    await button("Make token").click();
    const dialog = page.getByRole("dialog", { name: "Make an API token" });
    await dialog.getByLabel("Name").fill("nightly report");
    await dialog.getByRole("checkbox", { name: "devices.read" }).check();
    await look("token");
    await button("Make token", dialog).click();
    const token = (await page.getByTestId("made-token").textContent()).trim();
    assert.match(token, /^brl1\.[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]+=*$/);
    await look("token-made");
    await button("Done").click();
    await page.getByText(token).waitFor({ state: "detached" });
    const withToken = async (args) => {
      const env = { BOREALIS_ROOT: join(folder, "cli-token"), BOREALIS_TOKEN: token };
      const program = startCli(folder, `cli-token-${programs.length}`, ready, [...args, "--json"], undefined, env);
      programs.push(program);
      return { code: await program.end(), said: program.said() };
    };
    const listed = await withToken(["devices", "list"]);
    assert.equal(listed.code, 0, listed.said);
    assert.equal(JSON.parse(listed.said).hostname, hostname);
    assert.equal((await withToken(["jobs", "list"])).code, NOT_PERMITTED, "it holds what was chosen, and no more");
    await button("Revoke nightly report").click();
    await page.getByRole("row", { name: /nightly report Revoked/ }).waitFor();
    await look("account");
    await until("the token to be worthless", async () => (await withToken(["devices", "list"])).said.includes("token_revoked"), SLOW_MS);
  });

  await step("change the password; with the old one wrong nothing is changed", async () => {
    await button("Change password").click();
    const dialog = page.getByRole("dialog", { name: "Change your password" });
    await dialog.getByLabel("Password now").fill("not the one");
    await dialog.getByLabel("New password", { exact: true }).fill(PASSWORD);
    await dialog.getByLabel("New password again").fill(PASSWORD);
    await look("password");
    await button("Change password", dialog).click();
    await dialog.getByText("login_failed").waitFor();
    await dialog.getByLabel("Password now").fill(PASSWORD);
    await button("Change password", dialog).click();
    await page.getByText("The password is the new one. 1 other session is over.").waitFor();
    await cli("cli-login-again", ["login", "--username", USERNAME, "--password-stdin"], `${PASSWORD}\n`);
  });

  await step("disable the operator who was invited: the password opens nothing any more", async () => {
    await nav("Operators").click();
    await button(`Manage ${INVITED}`).click();
    await look("operator");
    await button("Disable").click();
    await page.waitForFunction(() => document.activeElement?.matches("[data-autofocus]"));
    await page.keyboard.type("the visit is over");
    await button("Disable").click();
    await page.getByRole("row", { name: new RegExp(`^${INVITED} Disabled`), includeHidden: true }).waitFor();
    await guest.getByLabel("User name").fill(INVITED);
    await guest.getByLabel("Password", { exact: true }).fill(INVITED_PASSWORD);
    await button("Log in", guest).click();
    await guest.getByText("login_failed").waitFor();
    await guest.context().close();
    await button("Close", page.getByRole("dialog")).last().click();
  });

  await step("the audit shows all of it, and every log is whole", async () => {
    await nav("Audit").click();
    const row = (verb, who, outcome) => page.getByRole("row", { name: `${verb}, ${who}, ${outcome}`, exact: true });
    // The list lays out what is in sight only.
    const only = async (verb) => {
      await page.getByLabel("What").fill(verb);
      await page.keyboard.press("Enter");
    };
    for (const verb of ["users-invite", "sites-create", "roles-create", "sessions-end", "tokens-create", "tokens-revoke", "users-disable"]) {
      await only(verb);
      await row(verb, USERNAME, "Accepted").first().waitFor();
    }
    await only("users-list");
    await row("users-list", INVITED, "right_missing").waitFor();
    await only("");
    await row("users-disable", USERNAME, "Accepted").waitFor();
    await look("audit");
    await only("users-invite");
    await row("users-disable", USERNAME, "Accepted").waitFor({ state: "detached" });
    await row("users-invite", USERNAME, "Accepted").click();
    await look("audit-record");
    await page.keyboard.press("Escape");
    await button("Verify").click();
    const dialog = page.getByRole("dialog", { name: "Verify the logs" });
    for (const service of ["access", "enrollment", "signing", "scheduler", "inventory", "library"]) {
      await dialog.getByRole("row", { name: new RegExp(`^${service} Whole `) }).waitFor();
    }
    await look("audit-verify");
    await page.keyboard.press("Escape");
  });

  await step("log out: every page needs a log-in again, and the old session is dead", async () => {
    const cookies = await opened.context.cookies();
    const session = cookies.find((cookie) => cookie.name.startsWith("__Host-borealis-"));
    assert.ok(session, "the session stands in a __Host- cookie");
    assert.ok(session.httpOnly && session.secure && session.sameSite === "Strict");
    await button(`Operator ${USERNAME}`).click();
    await button("Log out").click();
    await button("Log in").waitFor();
    for (const path of ["/", "/devices", "/jobs", "/schedules", "/library", "/enrolment", "/operators", "/audit", "/account"]) {
      await page.goto(origin + path);
      await button("Log in").waitFor();
    }
    await opened.context.addCookies([session]);
    const status = await page.evaluate(async () => (await fetch("/api/v1/session")).status);
    assert.equal(status, 401);
    const keys = await page.evaluate(
      () =>
        new Promise((resolve, reject) => {
          const request = indexedDB.open("borealis");
          request.onerror = () => reject(request.error);
          request.onsuccess = () => {
            const all = request.result.transaction("session").objectStore("session").count();
            all.onsuccess = () => resolve(all.result);
          };
        }),
    );
    assert.equal(keys, 0, "the session key is destroyed");
    await cli("cli-session", ["session"]);
    await cli("cli-logout", ["logout"]);
  });

  await step("the browser had nothing to complain about (policy, errors, other hosts)", () => {
    assert.deepEqual(opened.complaints, []);
  });

  await step("axe finds nothing on any page, light or dark", () => {
    assert.deepEqual(accessibility, []);
  });

  await step("everything stops within the time on SIGTERM", async () => {
    await Promise.all(programs.map((program) => program.stop()));
    assert.deepEqual(processesOf(folder), [], "nothing that was started is left");
  });
}

/** The code that an authenticator app shows, some periods before or behind now (RFC 6238). */
function totp(secret, drift) {
  const bits = [...secret].map((char) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(char).toString(2).padStart(5, "0"));
  const key = Buffer.from(bits.join("").match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30_000) + drift));
  const tag = createHmac("sha1", key).update(counter).digest();
  const number = tag.readUInt32BE(tag.at(-1) & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

function leftEdges(cells) {
  return cells.evaluateAll((all) => all.map((cell) => Math.round(cell.getBoundingClientRect().left)));
}

function escape(text) {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}

try {
  await scenario();
} catch (error) {
  if (failed === 0) {
    failed += 1;
    console.log(`FAIL  ${error?.stack ?? error}`);
  }
  await opened?.page.screenshot({ path: join(shots, "failed.png") }).catch(() => {});
  if (opened?.complaints.length) console.log(`the browser said:\n${opened.complaints.join("\n")}`);
  for (const program of programs) console.log(`--- ${program.name}\n${tailOf(program.output)}`);
} finally {
  await browser?.close();
  await Promise.allSettled(programs.map((program) => program.stop()));
  const keep = failed > 0 || process.env["BOREALIS_E2E_KEEP"] === "1";
  if (keep) console.log(`kept: ${folder}`);
  else if (shots.startsWith(folder)) rmSync(join(folder, "server"), { recursive: true, force: true });
  else rmSync(folder, { recursive: true, force: true });
  console.log(`pictures: ${shots}`);
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed === 0 ? 0 : 1;
