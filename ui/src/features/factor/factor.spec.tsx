// The second factor as a person meets it: at the log-in, and in the dialog that sets it up.

import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { change } from "../../api/client";
import { ApiError } from "../../api/errors";
import { logIn, proveAgain } from "../../api/opaque";
import { stepUpWithPasskey } from "../../api/passkey";
import { renderApp, session } from "../../test/app";
import { violations } from "../../test/axe";

vi.mock("../../api/keys", async () => (await import("../../test/keys")).keys());
vi.mock("../../api/opaque", async (original) => ({
  ...(await original<typeof import("../../api/opaque")>()),
  preloadOpaque: vi.fn(),
  logIn: vi.fn(),
  proveAgain: vi.fn(),
}));
vi.mock("../../api/passkey", async (original) => ({
  ...(await original<typeof import("../../api/passkey")>()),
  passkeyTrouble: () => null,
  stepUpWithPasskey: vi.fn(),
}));

const exchange = Uint8Array.from({ length: 64 }, (_, index) => index);

beforeEach(() => vi.mocked(logIn).mockReset());

describe("a log-in with a second factor", () => {
  it("asks for the code after the password, again after a wrong one, and starts over when it took too long", async () => {
    const prove = vi.fn();
    vi.mocked(logIn).mockResolvedValue({ factors: ["totp", "recovery"], prove });
    const view = await renderApp("/login", {}, { loggedIn: false });
    await userEvent.type(await screen.findByLabelText("User name"), "ada");
    await userEvent.type(screen.getByLabelText("Password"), "pw");
    await userEvent.click(screen.getByRole("button", { name: "Log in" }));
    const code = await screen.findByLabelText("Code");
    expect(await violations(view.container)).toEqual([]);
    const go = screen.getByRole("button", { name: "Go on" });
    await userEvent.type(code, "12345");
    expect(go).toHaveProperty("disabled", true);
    prove.mockRejectedValueOnce(new ApiError("factor_invalid", "the code does not fit", 401, "never", null));
    await userEvent.type(code, "6");
    await userEvent.click(go);
    await screen.findByText("factor_invalid");
    expect(prove).toHaveBeenCalledWith({ kind: "totp", code: "123456" });
    prove.mockRejectedValueOnce(new ApiError("login_failed", "user name and password do not fit", 401, "never", null));
    await userEvent.type(screen.getByLabelText("Code"), "abcd-efgh-ijkl-mnop");
    await userEvent.click(screen.getByRole("button", { name: "Go on" }));
    await screen.findByLabelText("User name");
    expect(prove).toHaveBeenLastCalledWith({ kind: "recovery", code: "ABCDEFGHIJKLMNOP" });
  });
});

async function open(): Promise<HTMLElement> {
  await userEvent.click(await screen.findByRole("button", { name: "Operator ada" }));
  await userEvent.click(await screen.findByRole("button", { name: "Second factor" }));
  return screen.findByRole("dialog", { name: "Second factor" });
}

describe("the second factor", () => {
  const home = { "GET /devices": { items: [], next_cursor: null }, "GET /jobs": { items: [], next_cursor: null } };

  it("is set up: the app's secret is shown and never sent", async () => {
    vi.mocked(proveAgain).mockResolvedValue({ answer: {}, secret: exchange });
    const { sent } = await renderApp("/", {
      ...home,
      "POST /totp/confirm": { second_factor: true, recovery_codes_left: 0 },
    });
    const dialog = await open();
    await userEvent.click(within(dialog).getByRole("button", { name: "Set up an app" }));
    await userEvent.type(await screen.findByLabelText("Password"), "pw");
    await userEvent.click(screen.getByRole("button", { name: "Go on" }));
    const secret = (await screen.findByTestId("totp-secret")).textContent ?? "";
    expect(secret).toMatch(/^[A-Z2-7]{32}$/);
    expect(screen.getByTestId("totp-address").textContent).toContain(`secret=${secret}`);
    screen.getByRole("img", { name: "QR code of the address, with the secret" });
    expect(await violations(screen.getByRole("dialog"))).toEqual([]);
    await userEvent.type(screen.getByLabelText("Code that the app shows"), "123 456");
    await userEvent.click(screen.getByRole("button", { name: "Confirm" }));
    await waitFor(() => expect(sent.find((each) => each.path === "/totp/confirm")?.body).toEqual({ code: "123456" }));
    expect(JSON.stringify(sent)).not.toContain(secret);
  });

  it("gives ten recovery codes for password and code", async () => {
    vi.mocked(proveAgain).mockResolvedValue({ answer: {}, secret: exchange });
    await renderApp("/", { ...home, "GET /session": { ...session, second_factor: true, recovery_codes_left: 1 } });
    const dialog = await open();
    within(dialog).getByText("1 recovery code is left.");
    await userEvent.click(within(dialog).getByRole("button", { name: "Make recovery codes" }));
    await userEvent.type(await screen.findByLabelText("Password"), "pw");
    const go = screen.getByRole("button", { name: "Go on" });
    expect(go).toHaveProperty("disabled", true);
    await userEvent.type(screen.getByLabelText("Code of the app"), "123456");
    await userEvent.click(go);
    const codes = (await screen.findByTestId("recovery-codes")).textContent ?? "";
    expect(codes.split("\n")).toHaveLength(10);
    expect(proveAgain).toHaveBeenLastCalledWith("/recovery-codes", "ada", "pw", { kind: "totp", code: "123456" });
  });

  it("is taken away after the password was proved once more", async () => {
    vi.mocked(proveAgain).mockReset().mockResolvedValue({ answer: {}, secret: exchange });
    const answers = [
      { status: 403, code: "step_up_required", detail: "too old" },
      { second_factor: false, recovery_codes_left: 0 },
    ];
    const { sent } = await renderApp("/", {
      ...home,
      "GET /session": { ...session, second_factor: true, recovery_codes_left: 0 },
      "POST /totp/remove": () => answers.shift(),
    });
    const dialog = await open();
    await userEvent.click(within(dialog).getByRole("button", { name: "Take away" }));
    const asked = await screen.findByRole("dialog", { name: "Prove your password once more" });
    expect(await violations(asked)).toEqual([]);
    await userEvent.type(within(asked).getByLabelText("Password"), "pw");
    await userEvent.type(within(asked).getByLabelText("Code of the app"), "123456");
    await userEvent.click(within(asked).getByRole("button", { name: "Go on" }));
    await waitFor(() => expect(sent.filter((each) => each.path === "/totp/remove")).toHaveLength(2));
    expect(proveAgain).toHaveBeenCalledWith("/step-up", "ada", "pw", { kind: "totp", code: "123456" });
    await waitFor(() => expect(screen.queryByRole("dialog", { name: "Prove your password once more" })).toBeNull());
  });

  it("says why it cannot be taken away", async () => {
    await renderApp("/", {
      ...home,
      "GET /session": { ...session, second_factor: true, recovery_codes_left: 0 },
      "POST /totp/remove": { status: 403, code: "step_up_required", detail: "too old" },
    });
    const dialog = await open();
    await userEvent.click(within(dialog).getByRole("button", { name: "Take away" }));
    const asked = await screen.findByRole("dialog", { name: "Prove your password once more" });
    await userEvent.click(within(asked).getByRole("button", { name: "Cancel" }));
    await within(dialog).findByText("step_up_required");
  });
});

describe("a proof once more", () => {
  const TITLE = "Prove your password once more";
  const tooOld = { status: 403, code: "step_up_required", detail: "too old" };

  it("by a passkey serves the act that it was asked for: what comes meanwhile is asked for by itself", async () => {
    const proofs: (() => void)[] = [];
    vi.mocked(stepUpWithPasskey).mockReset().mockImplementation(() => new Promise((resolve) => proofs.push(resolve)));
    const first: unknown[] = [tooOld, { done: "first" }];
    const second: unknown[] = [tooOld, { done: "second" }];
    const { sent } = await renderApp("/", {
      "GET /devices": { items: [], next_cursor: null },
      "GET /jobs": { items: [], next_cursor: null },
      "GET /session": { ...session, passkeys: 1 },
      "POST /users/1/disable": () => first.shift(),
      "POST /users/2/disable": () => second.shift(),
    });
    await screen.findByRole("heading", { name: "Home" });
    const one = change("/users/1/disable");
    await userEvent.click(await screen.findByRole("button", { name: "Use a passkey" }));
    await waitFor(() => expect(proofs).toHaveLength(1));
    const two = change("/users/2/disable");
    await waitFor(() => expect(second).toHaveLength(1));
    proofs[0]?.();
    expect(await one).toEqual({ done: "first" });
    expect(second).toHaveLength(1);
    const asked = screen.getByRole("dialog", { name: TITLE });
    await waitFor(() => expect(within(asked).getByRole("button", { name: "Use a passkey" })).not.toHaveProperty("disabled", true));
    await userEvent.click(within(asked).getByRole("button", { name: "Use a passkey" }));
    await waitFor(() => expect(proofs).toHaveLength(2));
    proofs[1]?.();
    expect(await two).toEqual({ done: "second" });
    await waitFor(() => expect(screen.queryByRole("dialog", { name: TITLE })).toBeNull());
    expect(vi.mocked(stepUpWithPasskey).mock.calls.map(([act]) => act?.path)).toEqual([
      "/api/v1/users/1/disable",
      "/api/v1/users/2/disable",
    ]);
    expect(sent.filter((each) => each.path.endsWith("/disable"))).toHaveLength(4);
  });

  it("by the password serves all that wait", async () => {
    vi.mocked(proveAgain).mockReset().mockResolvedValue({ answer: {}, secret: exchange });
    const answers: Record<string, unknown[]> = { 1: [tooOld, { done: 1 }], 2: [tooOld, { done: 2 }] };
    await renderApp("/", {
      "GET /devices": { items: [], next_cursor: null },
      "GET /jobs": { items: [], next_cursor: null },
      "POST /users/1/disable": () => answers["1"]?.shift(),
      "POST /users/2/disable": () => answers["2"]?.shift(),
    });
    await screen.findByRole("heading", { name: "Home" });
    const both = [change("/users/1/disable"), change("/users/2/disable")];
    const asked = await screen.findByRole("dialog", { name: TITLE });
    await userEvent.type(within(asked).getByLabelText("Password"), "pw");
    await userEvent.click(within(asked).getByRole("button", { name: "Go on" }));
    expect(await Promise.all(both)).toEqual([{ done: 1 }, { done: 2 }]);
    expect(proveAgain).toHaveBeenCalledTimes(1);
  });
});
