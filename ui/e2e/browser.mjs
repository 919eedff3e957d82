import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** What the browser may say without it being a fault: nobody is logged in at the log-in, and what is typed of a schedule or a filter cannot be. */
const EXPECTED = [
  { status: 401, path: /^\/api\/v1\// },
  { status: 422, path: /^\/api\/v1\/(schedules|jobs)\/preview$/ },
];

function isExpected(message) {
  const said = /the server responded with a status of (\d+)/.exec(message.text());
  if (!said) return false;
  const { pathname } = new URL(message.location().url);
  return EXPECTED.some(({ status, path }) => status === Number(said[1]) && path.test(pathname));
}

/** Opens Debian's Chromium; it trusts the deployment's CA by its pin, and reports every complaint. */
export async function openBrowser(pin, origin) {
  const browser = await chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      `--ignore-certificate-errors-spki-list=${pin}`,
    ],
  });
  const context = await browser.newContext({ viewport: { width: 1440, height: 860 }, colorScheme: "light" });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => {
    if (message.type() === "error" && !isExpected(message)) complaints.push(`${message.text()} ${message.location().url}`);
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("request", (request) => {
    const url = new URL(request.url());
    const own = url.origin === origin || url.origin === origin.replace(/^http/, "ws");
    if (!own && url.protocol !== "data:" && url.protocol !== "blob:") complaints.push(`request to ${url.origin}`);
  });
  return { browser, context, page, complaints };
}

/** Puts an authenticator of the browser's own into the page: it recognises its owner, until told otherwise. */
export async function authenticator({ context, page }) {
  const devtools = await context.newCDPSession(page);
  await devtools.send("WebAuthn.enable");
  const { authenticatorId } = await devtools.send("WebAuthn.addVirtualAuthenticator", {
    options: {
      protocol: "ctap2",
      transport: "internal",
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  return {
    recognised: (isUserVerified) => devtools.send("WebAuthn.setUserVerified", { authenticatorId, isUserVerified }),
    away: async () => {
      await devtools.send("WebAuthn.disable");
      await devtools.detach();
    },
  };
}

/** Takes a picture in both schemes and lists what axe finds in each. */
export async function inspect(page, folder, name) {
  const found = [];
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme, reducedMotion: "reduce" });
    await page.waitForFunction(
      (wanted) => document.documentElement.getAttribute("data-mantine-color-scheme") === wanted,
      scheme,
    );
    // Two frames, so that the new colours are painted.
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    await page.screenshot({ path: `${folder}/${name}-${scheme}.png` });
    if (!(await page.evaluate(() => "axe" in window))) await page.evaluate(AXE);
    found.push(
      ...(await page.evaluate(async (runOnly) => {
        const result = await window.axe.run(document, { runOnly });
        return result.violations.map(
          (violation) => `${violation.id}: ${violation.nodes.map((node) => node.target.join(" ")).join(" | ")}`,
        );
      }, TAGS)).map((text) => `${name} (${scheme}) ${text}`),
    );
  }
  await page.emulateMedia({ colorScheme: "light" });
  return found;
}
