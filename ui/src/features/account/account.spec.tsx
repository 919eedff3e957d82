// The own account: where one is logged in, and what programs may do in one's name.

import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import { fromBase64 } from "../../api/encoding";
import { ApiError } from "../../api/errors";
import { changePassword, WrongPassword } from "../../api/opaque";
import { draftToken } from "../../api/seeds";
import type { ApiToken, LiveSession } from "../../api/types";
import { renderApp, session, sessionWith } from "../../test/app";
import { violations } from "../../test/axe";
import { emptyTokenForm, readTokenForm } from "./tokenForm";

vi.mock("../../api/keys", async () => (await import("../../test/keys")).keys());
vi.mock("../../api/opaque", async (original) => ({
  ...(await original<typeof import("../../api/opaque")>()),
  preloadOpaque: vi.fn(),
  changePassword: vi.fn(),
}));

const AT = "2026-11-22T10:00:00.000Z";
const END = "2099-01-01T00:00:00.000Z";
const GUID = "0b8f2f2e-6a3c-4f5b-9a51-1d2c3b4a5f60";

const own: LiveSession = {
  id: session.session_id,
  operator: session.operator,
  username: "ada",
  peer: "192.0.2.1",
  started_at: AT,
  last_seen_at: AT,
  expires_at: END,
  current: true,
};
const other = { ...own, id: "5e", peer: "192.0.2.2", current: false };
const bobs = { ...other, id: "b5", operator: "b0", username: "bob", peer: "192.0.2.3" };

const token: ApiToken = {
  id: "70",
  name: "<i>nightly</i>",
  author: session.operator,
  username: "ada",
  key_fingerprint: "ab".repeat(32),
  rights: [{ right: "jobs.read", sites: ["oslo"] }],
  devices: [GUID],
  created_at: AT,
  expires_at: END,
  state: "active",
};
const answers = {
  "GET /sessions": { items: [own, other, bobs] },
  "GET /tokens": { items: [token, { ...token, id: "71", name: "bob's", author: "b0", username: "bob" }] },
  "GET /sites": { items: [{ name: "oslo", description: "", created_at: AT }] },
  "GET /devices": { items: [{ guid: GUID, hostname: "lyon", site: "oslo" }], next_cursor: null, total: 1 },
};

describe("sessions", () => {
  it("are one's own, everybody's on demand, and end singly", async () => {
    const { sent, container } = await renderApp("/account", { ...answers, "POST /sessions/5e/end": other });
    await screen.findByText("(this browser)");
    expect(screen.queryByText("192.0.2.3")).toBeNull();
    expect(await violations(container)).toEqual([]);
    expect(screen.queryByRole("button", { name: /from 192.0.2.1/ })).toBeNull();
    await userEvent.click(screen.getByRole("button", { name: "End the session of ada from 192.0.2.2" }));
    await waitFor(() => expect(sent.filter((each) => each.method === "POST").map((each) => each.path)).toEqual(["/sessions/5e/end"]));
    await userEvent.click(screen.getByRole("switch", { name: "Sessions: Everybody's" }));
    screen.getByRole("button", { name: "End the session of bob from 192.0.2.3" });
  });

  it("of others are neither offered nor ended without the rights for that", async () => {
    const limited = sessionWith(["jobs.read", "users.read", "users.manage"], ["oslo"]);
    await renderApp("/account", { ...answers, "GET /session": limited });
    await screen.findByText("(this browser)");
    expect(screen.queryByRole("switch")).toBeNull();
    expect(screen.queryByText("192.0.2.3")).toBeNull();
  });
});

describe("an API token", () => {
  it("is listed with what it may do, as text, and revoked", async () => {
    const { sent, container } = await renderApp("/account", {
      ...answers,
      "POST /tokens/70/revoke": { status: 409, code: "wrong_state", detail: "the API token is over already" },
    });
    const row = await screen.findByRole("row", { name: /nightly/ });
    within(row).getByText("jobs.read@oslo");
    within(row).getByText("1 device");
    expect(container.querySelector("i")).toBeNull();
    expect(screen.queryByText("bob's")).toBeNull();
    await userEvent.click(within(row).getByRole("button", { name: "Revoke <i>nightly</i>" }));
    await screen.findByText("the API token is over already");
    expect(sent.at(-1)?.method).toBe("GET");
  });

  it("is made of what one holds, bound to a key that is never sent, and shown once", async () => {
    const { sent } = await renderApp("/account", {
      ...answers,
      "GET /session": sessionWith(["devices.read", "jobs.read"], ["oslo"]),
      "POST /tokens": { ...token, biscuit: "EAbc-_" },
    });
    await userEvent.click(await screen.findByRole("button", { name: "Make token" }));
    const dialog = await screen.findByRole("dialog", { name: "Make an API token" });
    const make = within(dialog).getByRole("button", { name: "Make token" });
    expect(within(dialog).getAllByRole("checkbox")).toHaveLength(2);
    await userEvent.click(make);
    within(dialog).getByText("Say what it is for");
    within(dialog).getByText("Choose at least one right");
    expect(await violations(dialog)).toEqual([]);
    await userEvent.type(within(dialog).getByLabelText("Name"), "nightly");
    await userEvent.click(within(dialog).getByRole("checkbox", { name: "jobs.read" }));
    await userEvent.click(within(dialog).getByRole("combobox", { name: "Only for these devices" }));
    await userEvent.click(await screen.findByRole("option", { name: "lyon · oslo", hidden: true }));
    await userEvent.click(make);
    const shown = (await screen.findByTestId("made-token")).textContent ?? "";
    const [prefix, seed = "", biscuit] = shown.split(".");
    expect([prefix, biscuit]).toEqual(["brl1", "EAbc-_"]);
    expect(sent.find((each) => each.method === "POST")?.body).toEqual({
      name: "nightly",
      rights: [{ right: "jobs.read", sites: ["oslo"] }],
      devices: [GUID],
      lifetime_ms: 2_592_000_000,
      public_key: (await draftToken(fromBase64(seed))).public_key,
    });
    expect(JSON.stringify(sent)).not.toContain(seed);
    await userEvent.click(screen.getByRole("button", { name: "Done" }));
    await waitFor(() => expect(screen.queryByTestId("made-token")).toBeNull());
  });

  it("reads its form at the fields", () => {
    expect(readTokenForm(emptyTokenForm)).toEqual({
      errors: { name: "Say what it is for", rights: "Choose at least one right" },
    });
    const form = { ...emptyTokenForm, name: " x ", rights: { "jobs.read": [] } };
    expect(readTokenForm(form)).toEqual({ errors: { rights: "Choose at least one site for jobs.read." } });
    expect(readTokenForm({ ...form, rights: { "jobs.read": ["*"] }, lifetime: "86400000" })).toEqual({
      request: { name: "x", rights: [{ right: "jobs.read", sites: ["*"] }], devices: null, lifetime_ms: 86_400_000 },
    });
  });
});

describe("the password", () => {
  it("is changed when the old one fits and the new one is no common one", async () => {
    vi.mocked(changePassword).mockRejectedValueOnce(new WrongPassword("no")).mockResolvedValueOnce(2);
    await renderApp("/account", answers);
    await userEvent.click(await screen.findByRole("button", { name: "Change password" }));
    const dialog = await screen.findByRole("dialog", { name: "Change your password" });
    const go = within(dialog).getByRole("button", { name: "Change password" });
    const type = async (label: string, text: string): Promise<void> => {
      await userEvent.clear(within(dialog).getByLabelText(label));
      await userEvent.type(within(dialog).getByLabelText(label), text);
    };
    await type("Password now", "old one");
    await type("New password", "password1234");
    await type("New password again", "password1234");
    expect(go).toHaveProperty("disabled", true);
    expect(await violations(dialog)).toEqual([]);
    await type("New password", "violet-otter-plays-17");
    await type("New password again", "violet-otter-plays-17");
    await userEvent.click(go);
    await within(dialog).findByText("login_failed");
    await userEvent.click(go);
    await screen.findByText("The password is the new one. 2 other sessions are over.");
    expect(changePassword).toHaveBeenLastCalledWith("ada", "old one", null, "violet-otter-plays-17");
    expect(screen.queryByRole("dialog")).toBeNull();
  });
});

describe("the password of whoever has a second factor", () => {
  it("is changed with a code, which serves once", async () => {
    const refused = new ApiError("factor_invalid", "the code does not fit", 401, "never", null);
    vi.mocked(changePassword).mockRejectedValueOnce(refused).mockResolvedValueOnce(0);
    await renderApp("/account", { ...answers, "GET /session": { ...session, second_factor: true, recovery_codes_left: 1 } });
    await userEvent.click(await screen.findByRole("button", { name: "Change password" }));
    const dialog = await screen.findByRole("dialog", { name: "Change your password" });
    const go = within(dialog).getByRole("button", { name: "Change password" });
    await userEvent.type(within(dialog).getByLabelText("Password now"), "old one");
    await userEvent.type(within(dialog).getByLabelText("New password"), "violet-otter-plays-17");
    await userEvent.type(within(dialog).getByLabelText("New password again"), "violet-otter-plays-17");
    expect(go).toHaveProperty("disabled", true);
    await userEvent.type(within(dialog).getByLabelText("Code of the app"), "123 456");
    await userEvent.click(go);
    await within(dialog).findByText("factor_invalid");
    expect(go).toHaveProperty("disabled", true);
    await userEvent.type(within(dialog).getByLabelText("Code of the app"), "654321");
    await userEvent.click(go);
    await screen.findByText("The password is the new one.");
    const code = { kind: "totp", code: "654321" };
    expect(changePassword).toHaveBeenLastCalledWith("ada", "old one", code, "violet-otter-plays-17");
  });
});

describe("the own account", () => {
  it("is reached from the menu of the operator", async () => {
    const { router } = await renderApp("/account", answers);
    await router.navigate({ to: "/operators" });
    await userEvent.click(await screen.findByRole("button", { name: "Operator ada" }));
    await userEvent.click(await screen.findByRole("link", { name: "Your account" }));
    await screen.findByRole("heading", { name: "Your account" });
  });
});
