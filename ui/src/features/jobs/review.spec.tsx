// The two-person rule on the page: what waits is shown whole, and exactly that is approved.

import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import vector from "../../api/signing.vector.json";
import type { Job } from "../../api/types";
import { renderApp, session, sessionWith } from "../../test/app";
import { content, digest, shownWith } from "../../test/assemblies";
import { violations } from "../../test/axe";
import { askedOf, JOB, jobAnswers, jobWith, runWith } from "../../test/jobs";
import { approvalOf, quoted, readAsked, reviewDigest, visible } from "./review";

vi.mock("../../api/keys", async () => (await import("../../test/keys")).keys());

const job = jobWith({ runs_total: 3, counts: { queued: 3 }, state: "awaiting_approval" });
const runs = vector.approval.devices.map((guid, at) => runWith({ run: `r${at}`, guid, hostname: `host-${at}` }));

function answersFor(body: unknown, of: Partial<Job> = {}) {
  return jobAnswers({ ...job, ...of }, runs, body);
}

describe("what is approved", () => {
  it("is named by the digests of what was read, as on the command line", async () => {
    const asked = readAsked(askedOf(vector.approval.body));
    if (!asked) throw new Error("the request is readable");
    const body = await approvalOf(asked, runs);
    expect(body).toEqual({ request: vector.approval.request_digest, devices: vector.approval.devices_digest });
    expect(await reviewDigest(body)).toBe(vector.approval.review);
  });

  it("is nothing that a person cannot read", () => {
    expect(readAsked({ ...askedOf("{}"), body_base64: btoa("\u00ff{}") })).toBeNull();
    expect(readAsked({ ...askedOf("{}"), body_base64: "?" })).toBeNull();
    expect(readAsked(askedOf("[]"))).toBeNull();
    expect(readAsked(askedOf("\ufeff{}"))).toBeNull();
  });

  it("hides nothing behind characters that show nothing", () => {
    expect(visible("a\tb\nü€😀")).toBe("a\tb\nü€😀");
    expect(visible("\u202ex\u200b\r\u001b[2K\u00a0\u2028\ufe0f\u3164")).toBe(
      "⟨U+202E⟩x⟨U+200B⟩⟨U+000D⟩⟨U+001B⟩[2K⟨U+00A0⟩⟨U+2028⟩⟨U+FE0F⟩⟨U+3164⟩",
    );
    expect(quoted(["a b", { c: "\u202e" }])).toBe('["a b",{"c":"⟨U+202E⟩"}]');
  });
});

describe("a job that waits for approval", () => {
  it("shows all of what it asks for, and exactly that is approved", async () => {
    const request = {
      targets: { all: false, guids: vector.approval.devices },
      language: "bash",
      script: "echo <b>\u202e\nrm -rf /tmp/x",
      args: ["a b", "c"],
      env: { STAGE: "prod" },
      timeout_ms: 60_000,
      retries: 3,
      backoff_ms: 60_000,
      colour: 3,
    };
    const { sent, container } = await renderApp(`/jobs/${JOB}`, {
      ...answersFor(request),
      [`POST /jobs/${JOB}/approve`]: { ...job, state: "active", approved_by: "ada" },
    });
    expect((await screen.findByTestId("review-script")).textContent).toBe("echo <b>⟨U+202E⟩\nrm -rf /tmp/x");
    const shown = screen.getByRole("group", { name: "What it asks for" });
    for (const text of ["bob", "script.run", "bash", "3 devices by name", /^"a b"\s"c"$/, 'STAGE="prod"', "1 m 00 s", "colour", /^Tried again up to 3 times, first after 1 m 00 s/]) {
      within(shown).getByText(text);
    }
    screen.getByText(/bob asks for this on 3 devices/);
    for (const guid of vector.approval.devices) screen.getByText(guid);
    const approve = screen.getByRole("button", { name: "Approve on 3 devices" });
    await waitFor(() => expect(approve).toHaveProperty("disabled", false));
    expect(await violations(container)).toEqual([]);
    await userEvent.click(approve);
    const asked = readAsked(askedOf(request));
    if (!asked) throw new Error("the request is readable");
    const body = await approvalOf(asked, runs);
    await screen.findByText("Approved on 3 devices; it begins.");
    expect(sent.find((each) => each.method === "POST")).toEqual({ method: "POST", path: `/jobs/${JOB}/approve`, body });
    expect(screen.getByTestId("review-digest").textContent).toBe(await reviewDigest(body));
  });

  it("is not approved by whoever asked for it, and says so", async () => {
    await renderApp(`/jobs/${JOB}`, answersFor({ script: "true" }, { created_by: session.username }));
    await screen.findByText(/Nobody approves what they asked for themselves/);
    await screen.findByTestId("review-script");
    expect(screen.queryByRole("button", { name: /Approve/ })).toBeNull();
    screen.getByRole("button", { name: "Cancel run" });
  });

  it("is not approved without the right to run, nor before all of its devices are known", async () => {
    await renderApp(`/jobs/${JOB}`, {
      ...answersFor({ script: "true" }, { runs_total: 4 }),
      "GET /session": sessionWith(["jobs.read"]),
    });
    const approve = await screen.findByRole("button", { name: "Approve on 4 devices" });
    expect(approve).toHaveProperty("disabled", true);
    expect(approve.title).toBe("You do not hold the right jobs.run.");
    expect(screen.getByTestId("review-digest").textContent).toBe("–");
  });

  it("is not approved where its request cannot be read, and tells why an approval was refused", async () => {
    const { unmount } = await renderApp(`/jobs/${JOB}`, answersFor("[]"));
    await screen.findByText("The request cannot be read, so nobody can approve it here.");
    expect(screen.queryByRole("button", { name: /Approve/ })).toBeNull();
    unmount();
    await renderApp(`/jobs/${JOB}`, {
      ...answersFor({ script: "true" }),
      [`POST /jobs/${JOB}/approve`]: { status: 409, code: "conflict", detail: "the approval names another request", retry: "refresh" },
    });
    const approve = await screen.findByRole("button", { name: "Approve on 3 devices" });
    await waitFor(() => expect(approve).toHaveProperty("disabled", false));
    await userEvent.click(approve);
    await screen.findByText("the approval names another request");
  });

  it("that names an assembly shows what its digest names, and is not approved where the library has something else", async () => {
    const use = { assembly: "a5", version: 2, digest, variables: { days: "30\u200b" } };
    const asks = { ...answersFor({ targets: { all: true, guids: [] }, assembly: use }), "GET /library/assemblies/a5": shownWith() };
    const { unmount } = await renderApp(`/jobs/${JOB}`, asks);
    expect((await screen.findByTestId("review-script")).textContent).toBe('rm -rf "$KEEP⟨U+200B⟩"\n');
    const shown = screen.getByRole("group", { name: "What it asks for" });
    within(shown).getByText("<b>clean</b>, version 2");
    within(shown).getByText('days="30⟨U+200B⟩"');
    await waitFor(() => expect(screen.getByRole("button", { name: "Approve on 3 devices" })).toHaveProperty("disabled", false));
    unmount();
    for (const other of [shownWith({ digest: "ef".repeat(32) }), { ...shownWith(), content: { ...content, script: "true" } }]) {
      // oxlint-disable-next-line no-await-in-loop
      const view = await renderApp(`/jobs/${JOB}`, { ...asks, "GET /library/assemblies/a5": other });
      // oxlint-disable-next-line no-await-in-loop
      await screen.findByText(/the library does not have what the request names/);
      // oxlint-disable-next-line no-await-in-loop
      await waitFor(() => expect(screen.getByTestId("review-digest").textContent).toMatch(/^[0-9a-f]{64}$/));
      expect(screen.getByRole("button", { name: "Approve on 3 devices" })).toHaveProperty("disabled", true);
      view.unmount();
    }
  });
});
