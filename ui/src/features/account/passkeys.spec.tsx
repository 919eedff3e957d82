// Passkeys as a person meets them: at the log-in, in the account, and before a dangerous act. The browser's part is played.

import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { base64url, fromBase64 } from "../../api/encoding";
import { loadSession, makeSessionKey, storeSession } from "../../api/keys";
import { challengeOf, passkeyTrouble } from "../../api/passkey";
import { actOf } from "../../api/signing";
import type { Passkey } from "../../api/types";
import { renderApp, session } from "../../test/app";
import { violations } from "../../test/axe";

vi.mock("../../api/keys", async () => (await import("../../test/keys")).keys());
vi.mock("../../api/opaque", async (original) => ({
  ...(await original<typeof import("../../api/opaque")>()),
  preloadOpaque: vi.fn(),
}));

const WAIT = { timeout: 8_000 };
const AT = "2026-11-22T10:00:00.000Z";
const NONCE = base64url(new Uint8Array(32).fill(7));
const KEY = new Uint8Array(32).fill(9);
const bytes = (...values: number[]): ArrayBuffer => Uint8Array.from(values).buffer;

const phone: Passkey = { id: "f0", name: "<b>Phone</b>", host: "localhost", created_at: AT, last_used_at: null };
const account = {
  "GET /sessions": { items: [] },
  "GET /tokens": { items: [] },
  "GET /sites": { items: [] },
  "GET /devices": { items: [], next_cursor: null },
  "GET /passkeys": { items: [phone] },
};
const assertion = {
  rawId: bytes(1),
  response: { clientDataJSON: bytes(2), authenticatorData: bytes(3), signature: bytes(4), userHandle: bytes(5) },
};
const sentAssertion = {
  credential_id: "AQ",
  client_data_json: "Ag",
  authenticator_data: "Aw",
  signature: "BA",
  user_handle: "BQ",
};

const get = vi.fn<(options: CredentialRequestOptions) => Promise<unknown>>();
const create = vi.fn<(options: CredentialCreationOptions) => Promise<unknown>>();

beforeEach(() => {
  get.mockReset().mockResolvedValue(assertion);
  create.mockReset();
  vi.stubGlobal("PublicKeyCredential", vi.fn());
  Object.defineProperty(navigator, "credentials", { configurable: true, value: { get, create } });
});
afterEach(() => vi.unstubAllGlobals());

/** The session's key is known in the browser that logged in. */
async function withKey(): Promise<void> {
  const stored = await loadSession();
  if (stored) vi.mocked(loadSession).mockResolvedValue({ ...stored, publicKey: KEY });
}

describe("a log-in with a passkey", () => {
  const pressed = async () => {
    await userEvent.click(await screen.findByRole("button", { name: "Use a passkey" }, WAIT));
  };

  it("has it sign for the session's own key, whatever the server says", async () => {
    const pair = (await crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"])) as CryptoKeyPair;
    vi.mocked(makeSessionKey).mockResolvedValue({ privateKey: pair.privateKey, publicKey: KEY });
    const answers = [
      { login_id: "1d", nonce: NONCE, rp_id: "localhost" },
      { session_id: "5e", username: "ada", expires_at: AT, token: "t" },
    ];
    const { sent, container } = await renderApp("/login", { "POST /login": () => answers.shift() }, { loggedIn: false });
    await screen.findByRole("button", { name: "Use a passkey" }, WAIT);
    expect(await violations(container)).toEqual([]);
    await pressed();
    await waitFor(() => expect(storeSession).toHaveBeenCalled(), WAIT);
    const asked = get.mock.calls[0]?.[0].publicKey;
    expect(asked).toMatchObject({ rpId: "localhost", userVerification: "required", allowCredentials: [] });
    expect(asked?.challenge).toEqual(await challengeOf({ for: "log-in", session_key: KEY }, fromBase64(NONCE)));
    const posted = sent.filter((each) => each.path === "/login").map((each) => each.body);
    expect(posted).toEqual([
      { step: "passkey_start", host: "localhost", session_public_key: base64url(KEY) },
      { step: "passkey_finish", login_id: "1d", assertion: sentAssertion },
    ]);
    expect(vi.mocked(storeSession).mock.calls[0]?.[0]).toMatchObject({ session_id: "5e", publicKey: KEY });
  });

  it("says when it was called off, or the certificate is not trusted", async () => {
    vi.mocked(makeSessionKey).mockResolvedValue({ privateKey: {} as CryptoKey, publicKey: KEY });
    get.mockRejectedValueOnce(new DOMException("The operation was not allowed", "NotAllowedError"));
    get.mockRejectedValueOnce(new DOMException("sites with TLS certificate errors", "NotAllowedError"));
    await renderApp("/login", { "POST /login": { login_id: "1d", nonce: NONCE, rp_id: "localhost" } }, { loggedIn: false });
    await pressed();
    await screen.findByText("passkey_not_given", {}, WAIT);
    await pressed();
    await screen.findByText(/whose certificate it does not trust/, {}, WAIT);
  });

  it("is not offered where there can be none", async () => {
    expect(["192.0.2.1", "::1", "[::1]", "fleet.example", "localhost"].map((host) => passkeyTrouble(host))).toEqual([
      "address",
      "address",
      "address",
      null,
      null,
    ]);
    Reflect.deleteProperty(window, "PublicKeyCredential");
    await renderApp("/login", {}, { loggedIn: false });
    await screen.findByRole("button", { name: "Log in" }, WAIT);
    expect(screen.queryByRole("button", { name: "Use a passkey" })).toBeNull();
    expect(passkeyTrouble()).toBe("browser");
  });
});

describe("passkeys in the account", () => {
  it("are listed as text, renamed and removed", async () => {
    const { sent, container } = await renderApp("/account", {
      ...account,
      "POST /passkeys/f0/rename": { ...phone, name: "Old" },
      "POST /passkeys/f0/remove": { status: 404, code: "not_found", detail: "there is no such passkey" },
    });
    const row = await screen.findByRole("row", { name: /Phone/ }, WAIT);
    within(row).getByText("Never");
    expect(container.querySelector("td b")).toBeNull();
    expect(await violations(container)).toEqual([]);
    await userEvent.click(within(row).getByRole("button", { name: "Rename <b>Phone</b>" }));
    const dialog = await screen.findByRole("dialog", { name: "Rename the passkey" }, WAIT);
    const name = within(dialog).getByLabelText("Name");
    await userEvent.clear(name);
    expect(within(dialog).getByRole("button", { name: "Save" })).toHaveProperty("disabled", true);
    await userEvent.type(name, " Old ");
    await userEvent.click(within(dialog).getByRole("button", { name: "Save" }));
    await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull(), WAIT);
    await userEvent.click(screen.getByRole("button", { name: "Remove <b>Phone</b>" }));
    await screen.findByText("there is no such passkey", {}, WAIT);
    const posted = sent.filter((each) => each.method === "POST");
    expect(posted.map((each) => [each.path, each.body])).toEqual([
      ["/passkeys/f0/rename", { name: "Old" }],
      ["/passkeys/f0/remove", {}],
    ]);
  });

  it("are made by the authenticator for this session", async () => {
    const response = { clientDataJSON: bytes(2), getAuthenticatorData: () => bytes(3) };
    create.mockResolvedValue({ response });
    const answers = [
      { ceremony_id: "ce", nonce: NONCE, rp_id: "localhost", user_handle: "BQ", username: "ada", exclude: ["AQ"] },
      { ...phone, name: "Key" },
    ];
    const { sent } = await renderApp("/account", { ...account, "GET /passkeys": { items: [] }, "POST /passkeys": () => answers.shift() });
    await withKey();
    await screen.findByText("No passkeys", {}, WAIT);
    await userEvent.click(screen.getByRole("button", { name: "Add passkey" }));
    const dialog = await screen.findByRole("dialog", { name: "Add a passkey" }, WAIT);
    expect(await violations(dialog)).toEqual([]);
    await userEvent.type(within(dialog).getByLabelText("Name"), "Key");
    await userEvent.click(within(dialog).getByRole("button", { name: "Add passkey" }));
    await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull(), WAIT);
    const asked = create.mock.calls[0]?.[0].publicKey;
    const own = { session_id: session.session_id, session_key: KEY };
    expect(asked?.challenge).toEqual(await challengeOf({ for: "register", ...own }, fromBase64(NONCE)));
    expect(asked).toMatchObject({
      rp: { id: "localhost" },
      user: { name: "ada" },
      authenticatorSelection: { residentKey: "required", userVerification: "required" },
      attestation: "none",
    });
    expect(asked?.excludeCredentials).toHaveLength(1);
    const posted = sent.filter((each) => each.method === "POST").map((each) => each.body);
    expect(posted).toEqual([
      { step: "start", host: "localhost" },
      { step: "finish", ceremony_id: "ce", name: "Key", made: { client_data_json: "Ag", authenticator_data: "Aw" } },
    ]);
  });
});

describe("a dangerous act", () => {
  it("goes on after the passkey signed for just this act", async () => {
    const removals = [{ status: 403, code: "step_up_required", detail: "too old" }, phone];
    const steps = [{ ceremony_id: "ce", nonce: NONCE, rp_id: "localhost", allow: ["AQ"] }, { session_id: "5e" }];
    const heads: string[] = [];
    const { sent } = await renderApp("/account", {
      ...account,
      "GET /session": { ...session, passkeys: 1 },
      "POST /passkeys/f0/remove": () => removals.shift(),
      "POST /step-up/passkey": () => steps.shift(),
    });
    const fetched = globalThis.fetch;
    vi.stubGlobal("fetch", async (input: string, init?: RequestInit) => {
      if (input.endsWith("/remove")) heads.push(new Headers(init?.headers).get("idempotency-key") ?? "");
      return fetched(input, init);
    });
    await withKey();
    await userEvent.click(await screen.findByRole("button", { name: "Remove <b>Phone</b>" }, WAIT));
    const asked = await screen.findByRole("dialog", { name: "Prove your password once more" }, WAIT);
    expect(await violations(asked)).toEqual([]);
    within(asked).getByLabelText("Password");
    await userEvent.click(within(asked).getByRole("button", { name: "Use a passkey" }));
    await waitFor(() => expect(sent.filter((each) => each.path === "/passkeys/f0/remove")).toHaveLength(2), WAIT);
    const [command_id = "", again] = heads;
    expect(again).toBe(command_id);
    const own = { session_id: session.session_id, session_key: KEY };
    const body = new TextEncoder().encode("{}");
    const act = await actOf({ method: "POST", path: "/api/v1/passkeys/f0/remove", body, command_id, session_id: own.session_id });
    const wanted = await challengeOf({ for: "step-up", ...own, act }, fromBase64(NONCE));
    expect(get.mock.calls[0]?.[0].publicKey?.challenge).toEqual(wanted);
    const posted = sent.filter((each) => each.path === "/step-up/passkey").map((each) => each.body);
    expect(posted).toEqual([
      { step: "start", host: "localhost", act: base64url(act) },
      { step: "finish", ceremony_id: "ce", assertion: sentAssertion },
    ]);
  });
});
