// Each page, whole: what a person reads and does there, and what axe says.

import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { beforeEach, describe, expect, it, vi } from "vitest";
import type { Approval, Device, InstallerCode } from "../api/types";
import { renderApp, session } from "../test/app";
import { violations } from "../test/axe";
import { jobWith, runWith } from "../test/jobs";

vi.mock("../api/keys", async () => (await import("../test/keys")).keys());

const AT = "2026-11-22T10:00:00.000Z";
const GUID = "0b8f2f2e-6a3c-4f5b-9a51-1d2c3b4a5f60";

const device: Device = {
  guid: GUID,
  hostname: "<b>lyon</b>-ws-1",
  site: "default",
  status: "active",
  status_reason: null,
  status_by: null,
  status_at: null,
  presence: "online",
  os: "linux",
  os_version: "Debian GNU/Linux 12",
  arch: "x86_64",
  agent_version: "0.1.0",
  context: "SYSTEM",
  fingerprint: "ab".repeat(32),
  addresses: ["192.0.2.7"],
  last_user: null,
  uptime_ms: 187_000,
  cpu: "Test CPU",
  memory_bytes: 34_359_738_368,
  tags: ["prod"],
  approved_at: AT,
  first_seen_at: AT,
  last_seen_at: AT,
};

const approval: Approval = {
  id: "a1",
  hostname: "new-host",
  site: "default",
  os: "Debian 12",
  arch: "x86_64",
  agent_version: "0.1.0",
  context: "SYSTEM",
  address: "192.0.2.9",
  fingerprint: "cd".repeat(32),
  words: "amber basin cedar delta",
  code_id: "c1",
  requested_at: AT,
  expires_at: null,
  state: "pending",
  reason: null,
  conflicts: [],
};

const code: InstallerCode = {
  id: "c1",
  masked: "BRL1-AB…YZ",
  site: "default",
  uses: 3,
  uses_left: 2,
  auto_approve: false,
  created_at: AT,
  created_by: "ada",
  expires_at: "2099-01-01T00:00:00.000Z",
  state: "active",
};

const job = jobWith({ created_at: new Date().toISOString(), created_by: "ada", expires_at: null });
const run = runWith({ guid: GUID, hostname: device.hostname, state: "running", delivered_at: AT, started_at: AT });

const devices = { items: [device], next_cursor: null, total: 1 };
const noJobs = { items: [], next_cursor: null };

beforeEach(() => sessionStorage.clear());

describe("home", () => {
  it("says that nothing needs a person, and shows the last jobs", async () => {
    const done = { ...job, state: "done", counts: { succeeded: 1 } };
    const { container } = await renderApp("/", { "GET /devices": devices, "GET /jobs": { items: [done], next_cursor: null } });
    expect(await screen.findByText("Nothing needs you")).toBeTruthy();
    expect(screen.getByText("Succeeded")).toBeTruthy();
    expect(await violations(container)).toEqual([]);
  });

  it("shows approvals and failed runs first", async () => {
    const failed = { ...job, state: "done", counts: { failed: 2, succeeded: 1 }, runs_total: 3 };
    await renderApp("/", {
      "GET /devices": devices,
      "GET /approvals": { items: [approval] },
      "GET /jobs": { items: [failed], next_cursor: null },
    });
    expect(await screen.findByText("new-host")).toBeTruthy();
    expect(await screen.findByText("2 of 3 devices with trouble")).toBeTruthy();
    expect(screen.queryByText("Nothing needs you")).toBeNull();
    expect(screen.getByRole("link", { name: /Enrolment.*1 approval waits/ })).toBeTruthy();
  });
});

describe("devices", () => {
  it("shows text of devices as text, in an accessible grid", async () => {
    const { container } = await renderApp("/devices", { "GET /devices": devices });
    const grid = await screen.findByRole("grid", { name: "Devices" });
    expect(grid.getAttribute("aria-rowcount")).toBe("2");
    const row = await within(grid).findByRole("row", { name: "<b>lyon</b>-ws-1" });
    expect(within(row).getByText("Online")).toBeTruthy();
    expect(container.querySelector("b")).toBeNull();
    expect(await violations(container)).toEqual([]);
  });

  it("offers to run on what is selected", async () => {
    const { router } = await renderApp("/devices", { "GET /devices": devices });
    const user = userEvent.setup();
    await user.click(await screen.findByRole("checkbox", { name: "Select <b>lyon</b>-ws-1" }));
    await user.click(screen.getByRole("button", { name: /^Run on 1/ }));
    await waitFor(() => expect(router.state.location.pathname).toBe("/run"));
    expect(router.state.location.search).toEqual({ devices: GUID });
  });

  it("tells an empty fleet from a filter that matches nothing", async () => {
    await renderApp("/devices?q=zzz", { "GET /devices": { items: [], next_cursor: null, total: 0 } });
    expect(await screen.findByText("Nothing matches")).toBeTruthy();
  });

  it("says why the list cannot be read", async () => {
    await renderApp("/devices", {
      "GET /devices": { status: 503, code: "unavailable", detail: "inventory does not answer.", request_id: "req-7" },
    });
    const alert = await screen.findByRole("alert");
    for (const text of ["The devices could not be read.", "inventory does not answer.", "unavailable", "req-7"]) {
      expect(alert.textContent).toContain(text);
    }
  });
});

describe("one device", () => {
  it("shows its facts", async () => {
    const { container } = await renderApp(`/devices/${GUID}?tab=hardware`, {
      [`GET /devices/${GUID}`]: { ...device, facts: { memory: { total_bytes: 1024 }, storage: [{ mount: "/" }] }, facts_at: AT },
    });
    expect(await screen.findByText("1.0 KiB")).toBeTruthy();
    expect(screen.getByRole("columnheader", { name: "Mount" })).toBeTruthy();
    expect(await violations(container)).toEqual([]);
  });

  const known = { ...device, facts: null, facts_at: null };
  const names = (): (string | null)[] =>
    screen
      .getAllByRole("button")
      .map((button) => button.textContent)
      .filter((name) => ["Quarantine", "Release", "Revoke", "Decommission"].includes(name ?? ""));

  it("quarantines with a reason and shows who did it and why", async () => {
    let now: Record<string, unknown> = known;
    const { sent, container } = await renderApp(`/devices/${GUID}`, {
      [`GET /devices/${GUID}`]: () => now,
      [`POST /devices/${GUID}/quarantine`]: (_: URL, body: { reason: string }) =>
        (now = { ...known, status: "quarantined", status_reason: body.reason, status_by: "ada", status_at: AT }),
    });
    const user = userEvent.setup();
    await user.click(await screen.findByRole("button", { name: "Quarantine" }));
    const dialog = await screen.findByRole("dialog");
    expect(sent.some((each) => each.method === "POST")).toBe(false);
    expect(within(dialog).getByText(/gets no orders/)).toBeTruthy();
    await user.type(within(dialog).getByLabelText("Reason"), "  odd traffic ");
    expect(await violations(container)).toEqual([]);
    await user.click(within(dialog).getByRole("button", { name: "Quarantine" }));
    expect(await screen.findByText("odd traffic")).toBeTruthy();
    expect(screen.getByText(/by ada/)).toBeTruthy();
    const post = sent.filter((each) => each.method === "POST");
    expect(post.map((each) => [each.path, each.body])).toEqual([
      [`/devices/${GUID}/quarantine`, { reason: "odd traffic" }],
    ]);
    await waitFor(() => expect(names()).toEqual(["Release", "Revoke", "Decommission"]));
  });

  it("changes the tags by what is given and what is taken", async () => {
    const { sent, container } = await renderApp(`/devices/${GUID}`, {
      "GET /session": { ...session, rights: ["devices.read", "devices.tag"] },
      [`GET /devices/${GUID}`]: known,
      [`POST /devices/${GUID}/tags`]: { guid: GUID, hostname: "web-1", tags: ["db", "web"] },
    });
    const user = userEvent.setup();
    await user.click(await screen.findByRole("button", { name: "Change tags" }));
    const input = within(await screen.findByRole("dialog")).getByLabelText<HTMLInputElement>("Tags");
    expect(input.value).toBe("prod");
    await user.clear(input);
    await user.type(input, "web db");
    expect(await violations(container)).toEqual([]);
    await user.click(screen.getByRole("button", { name: "Save" }));
    expect(await screen.findByText(/db web/)).toBeTruthy();
    const post = sent.filter((each) => each.method === "POST");
    expect(post.map((each) => each.body)).toEqual([{ add: ["db", "web"], remove: ["prod"] }]);
  });

  it("keeps the dialog with the reason when the server refuses", async () => {
    await renderApp(`/devices/${GUID}`, {
      [`GET /devices/${GUID}`]: known,
      [`POST /devices/${GUID}/revoke`]: { status: 409, code: "wrong_state", detail: "the device is revoked" },
    });
    const user = userEvent.setup();
    await user.click(await screen.findByRole("button", { name: "Revoke" }));
    const dialog = await screen.findByRole("dialog");
    await user.type(within(dialog).getByLabelText("Reason"), "stolen");
    await user.click(within(dialog).getByRole("button", { name: "Revoke" }));
    const alert = await within(dialog).findByRole("alert");
    expect(alert.textContent).toContain("wrong_state");
    expect(within(dialog).getByLabelText<HTMLInputElement>("Reason").value).toBe("stolen");
  });

  it.each([
    ["active", [], []],
    ["active", ["devices.quarantine"], ["Quarantine"]],
    ["quarantined", ["devices.quarantine"], ["Release"]],
    ["revoked", ["devices.quarantine", "devices.revoke"], ["Decommission"]],
    ["decommissioned", ["devices.quarantine", "devices.revoke"], []],
  ])("offers of a device that is %s, with %j, just %j", async (status, rights, offered) => {
    await renderApp(`/devices/${GUID}`, {
      "GET /session": { ...session, rights: ["devices.read", ...rights] },
      [`GET /devices/${GUID}`]: { ...known, status },
    });
    await screen.findByText("Fingerprint");
    expect(names()).toEqual(offered);
  });
});

describe("enrolment", () => {
  it("mints a code and shows it once", async () => {
    const { sent, container } = await renderApp("/enrolment", {
      "GET /codes": { items: [code] },
      "GET /approvals": { items: [approval] },
      "POST /codes": { ...code, ca_sha256: "ab".repeat(32) },
    });
    const user = userEvent.setup();
    expect(await screen.findByText("BRL1-AB…YZ")).toBeTruthy();
    expect(await violations(container)).toEqual([]);
    await user.click(screen.getByRole("button", { name: "Mint code" }));
    const dialog = await screen.findByRole("dialog");
    await user.click(within(dialog).getByRole("button", { name: "Mint code" }));
    const shown = (await screen.findByTestId("minted-code")).textContent ?? "";
    expect(shown).toMatch(/^BRL1-[A-Z2-7]{84}$/);
    expect(sent.find((request) => request.method === "POST")?.body).toEqual({
      public_key: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
      hint: shown.slice(5, 9),
      site: "default",
      uses: 1,
      lifetime_ms: 86_400_000,
      auto_approve: false,
    });
    await user.click(screen.getByRole("button", { name: "Done" }));
    await waitFor(() => expect(screen.queryByText(shown)).toBeNull());
  });

  it("says what a request is in conflict with, and asks what becomes of the known device", async () => {
    const known = {
      ...approval,
      reason: "this machine is known as old-host under another key",
      conflicts: [{ kind: "known_machine", guid: GUID, hostname: "old-host", site: "default" }],
    };
    const { sent, container } = await renderApp("/enrolment", {
      "GET /codes": { items: [] },
      "GET /approvals": { items: [known] },
      "POST /approvals/a1/approve": { ...known, state: "approved" },
    });
    const user = userEvent.setup();
    const row = await screen.findByRole("listitem", { name: "new-host" });
    expect(within(row).getByText(/known as old-host/)).toBeTruthy();
    expect(within(row).queryByRole("button", { name: "Approve" })).toBeNull();
    expect(await violations(container)).toEqual([]);
    await user.click(within(row).getByRole("button", { name: "Overwrite the device" }));
    await waitFor(() => expect(sent.some((each) => each.method === "POST")).toBe(true));
    const post = sent.filter((each) => each.method === "POST");
    expect(post.map((each) => each.body)).toEqual([{ conflict: "overwrite" }]);
  });

  it("leaves a device whose key asks from another site where it is", async () => {
    const moved = {
      ...approval,
      reason: "this key is old-host, and no enrolment moves a device to another site",
      conflicts: [{ kind: "other_site", guid: GUID, hostname: "old-host", site: "oslo" }],
    };
    const { sent } = await renderApp("/enrolment", {
      "GET /codes": { items: [] },
      "GET /approvals": { items: [moved] },
      "POST /approvals/a1/approve": { ...moved, state: "approved" },
    });
    const user = userEvent.setup();
    const row = await screen.findByRole("listitem", { name: "new-host" });
    await user.click(within(row).getByRole("button", { name: "Leave it in oslo" }));
    await waitFor(() => expect(sent.some((each) => each.method === "POST")).toBe(true));
    const post = sent.filter((each) => each.method === "POST");
    expect(post.map((each) => each.body)).toEqual([{ site: "oslo" }]);
  });

  it("approves, and denies with a reason", async () => {
    const { sent } = await renderApp("/enrolment", {
      "GET /codes": { items: [] },
      "GET /approvals": { items: [approval, { ...approval, id: "a2", hostname: "other-host" }] },
      "POST /approvals/a1/approve": { ...approval, state: "approved" },
      "POST /approvals/a2/deny": { ...approval, id: "a2", state: "denied" },
    });
    const user = userEvent.setup();
    const first = await screen.findByRole("listitem", { name: "new-host" });
    expect(within(first).getByText("amber basin cedar delta")).toBeTruthy();
    await user.click(within(first).getByRole("button", { name: "Approve" }));
    await user.click(within(screen.getByRole("listitem", { name: "other-host" })).getByRole("button", { name: "Deny" }));
    const dialog = await screen.findByRole("dialog");
    await user.type(within(dialog).getByLabelText("Reason"), "not ours");
    await user.click(within(dialog).getByRole("button", { name: "Deny" }));
    await waitFor(() =>
      expect(sent.filter((request) => request.method === "POST")).toEqual([
        { method: "POST", path: "/approvals/a1/approve", body: {} },
        { method: "POST", path: "/approvals/a2/deny", body: { reason: "not ours" } },
      ]),
    );
  });

  it("offers nothing that the operator may not do", async () => {
    await renderApp("/enrolment", {
      "GET /session": { ...session, rights: ["codes.read", "approvals.read"] },
      "GET /codes": { items: [] },
      "GET /approvals": { items: [approval] },
    });
    const approve = await screen.findByRole("button", { name: "Approve" });
    expect((approve as HTMLButtonElement).disabled).toBe(true);
    expect(approve.title).toBe("You do not hold the right approvals.decide.");
    expect((screen.getByRole("button", { name: "Mint code" }) as HTMLButtonElement).disabled).toBe(true);
  });
});

describe("the run view", () => {
  it("shows output as it comes, then the end, and can cancel before", async () => {
    let release: (answer: Response) => void = () => {};
    const second = new Promise<Response>((resolve) => {
      release = resolve;
    });
    let polls = 0;
    let state: "running" | "succeeded" = "running";
    const line = { job: job.job, run: run.run, guid: GUID, hostname: device.hostname };
    const { container, sent } = await renderApp(`/jobs/${job.job}`, {
      [`GET /jobs/${job.job}`]: () =>
        state === "running" ? job : { ...job, state: "done", counts: { succeeded: 1 } },
      [`GET /jobs/${job.job}/runs`]: () => ({ items: [{ ...run, state, exit_code: state === "running" ? null : 0 }], next_cursor: null }),
      [`GET /jobs/${job.job}/output`]: () => {
        polls += 1;
        return polls === 1
          ? { lines: [{ ...line, stream: "stdout", seq: 0, data: "<i>first</i>\n" }], cursor: "1", done: false }
          : second;
      },
      [`POST /jobs/${job.job}/cancel`]: { ...job, cancelled: true },
    });
    const stdout = await screen.findByRole("log", { name: "stdout" });
    await waitFor(() => expect(stdout.textContent).toBe("<i>first</i>"));
    expect(container.querySelector("i")).toBeNull();
    expect(screen.getByTestId("run-state").textContent).toBe("Running");
    expect(await violations(container)).toEqual([]);
    await userEvent.setup().click(screen.getByRole("button", { name: "Cancel run" }));
    await waitFor(() => expect(sent.some((request) => request.path.endsWith("/cancel"))).toBe(true));
    state = "succeeded";
    release(
      new Response(
        JSON.stringify({
          lines: [{ ...line, final: true, state: "succeeded", exit_code: 0, stdout: "<i>first</i>\nlast\n", stderr: "", duration_ms: 850 }],
          cursor: "2",
          done: true,
        }),
      ),
    );
    await waitFor(() => expect(stdout.textContent).toBe("<i>first</i>\nlast"));
    await waitFor(() => expect(screen.getByTestId("run-state").textContent).toBe("Succeeded"));
    expect(screen.getByTestId("exit-code").textContent).toBe("0");
    expect(screen.queryByRole("button", { name: "Cancel run" })).toBeNull();
    expect(polls).toBe(2);
  });

  it("lists jobs", async () => {
    const { container } = await renderApp("/jobs", { "GET /jobs": { items: [job], next_cursor: null } });
    const grid = await screen.findByRole("grid", { name: "Jobs" });
    expect(await within(grid).findByRole("row", { name: /Bash script 00000000, Running/ })).toBeTruthy();
    expect(await violations(container)).toEqual([]);
  });
});

describe("without a session", () => {
  it("every page leads to the log-in, and keeps where one wanted to go", async () => {
    const { router, container } = await renderApp("/jobs", { "GET /jobs": noJobs }, { loggedIn: false });
    expect(await screen.findByRole("button", { name: "Log in" })).toBeTruthy();
    expect(router.state.location.search).toEqual({ next: "/jobs" });
    expect(await violations(container)).toEqual([]);
  });

  it("the set-up wants the whole link", async () => {
    const { container } = await renderApp("/setup", {}, { loggedIn: false });
    expect(await screen.findByText("This link is not complete")).toBeTruthy();
    expect(await violations(container)).toEqual([]);
  });

  it("the set-up refuses a weak password before anything is sent", async () => {
    window.location.hash = `#${"s".repeat(43)}`;
    const { sent } = await renderApp("/setup", {}, { loggedIn: false });
    const user = userEvent.setup();
    await user.type(await screen.findByLabelText("User name"), "Ada");
    await user.type(screen.getByLabelText("Password"), "password1234");
    await user.type(screen.getByLabelText("Password again"), "password1234");
    const button = screen.getByRole("button", { name: "Set password" }) as HTMLButtonElement;
    expect(button.disabled).toBe(true);
    expect(window.location.hash).toBe("");
    expect(sent.filter((request) => request.path === "/setup")).toEqual([]);
  });
});
