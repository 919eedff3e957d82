// A job that is over: what printed the same as one line, and what failed once more.

import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import type { Job, OutputGroup, Run } from "../../api/types";
import { renderApp, sessionWith } from "../../test/app";
import { violations } from "../../test/axe";

vi.mock("../../api/keys", async () => (await import("../../test/keys")).keys());

const AT = "2026-11-22T10:00:00.000Z";
const ID = "00000000000000000000000000000001";

const job: Job = {
  job: ID,
  created_at: AT,
  created_by: "bob",
  role: "script",
  verb: "run",
  language: "bash",
  context: "SYSTEM",
  script_digest: "ef".repeat(32),
  timeout_ms: 60_000,
  expires_at: AT,
  runs_total: 3,
  counts: { succeeded: 1, failed: 1, expired: 1 },
  state: "done",
  cancelled: false,
};
const states = ["succeeded", "failed", "expired"] as const;
const runs = states.map(
  (state, at): Run => ({
    run: `0${at}`.repeat(16),
    job: ID,
    guid: `00000000-0000-4000-8000-00000000000${9 - at}`,
    hostname: `host-${at}`,
    state,
    attempt: 1,
    exit_code: state === "expired" ? null : at,
    queued_at: AT,
    delivered_at: AT,
    started_at: AT,
    ended_at: AT,
    duration_ms: 5,
    reason: null,
    code: null,
    truncated: false,
    stdout_bytes: 2,
    stderr_bytes: 0,
  }),
);
const group: OutputGroup = {
  runs: 412,
  state: "succeeded",
  exit_code: 0,
  code: null,
  stdout: "ab".repeat(32),
  stderr: null,
  stdout_bytes: 2,
  stderr_bytes: 0,
  truncated: false,
  run: runs[0]?.run ?? "",
  hostnames: ["host-0", "<b>host</b>"],
};
const request = { targets: { all: true, guids: [] }, language: "bash", script: "exit $N", args: ["x"] };
const answers = {
  [`GET /jobs/${ID}`]: job,
  [`GET /jobs/${ID}/runs`]: { items: runs, next_cursor: null },
  [`GET /jobs/${ID}/output`]: { lines: [], cursor: "1", done: true },
  [`GET /jobs/${ID}/outputs`]: { job: ID, open: 1, pending: 0, groups_total: 1, items: [group], next_cursor: null },
  [`GET /jobs/${ID}/request`]: {
    job: ID,
    created_by: "bob",
    method: "POST",
    path: "/api/v1/jobs",
    body_base64: btoa(JSON.stringify(request)),
  },
};

describe("output that is the same", () => {
  it("is shown as one line, names as text", async () => {
    const { container } = await renderApp(`/jobs/${ID}`, answers);
    await userEvent.click(await screen.findByRole("button", { name: "Same output as one" }));
    const row = await screen.findByRole("row", { name: "412 runs, Succeeded" });
    within(row).getByText("host-0, <b>host</b> and 410 more");
    screen.getByText("1 run not over yet");
    expect(await violations(container)).toEqual([]);
    await userEvent.click(screen.getByRole("button", { name: /^All/ }));
    await screen.findByRole("row", { name: "host-1, Failed" });
  });
});

describe("what failed", () => {
  it("runs once more exactly as it was asked for, as one command however often one asks", async () => {
    const { sent, router } = await renderApp(`/jobs/${ID}`, {
      ...answers,
      "POST /jobs": { job: "00000000000000000000000000000002", runs_total: 2 },
    });
    await userEvent.click(await screen.findByRole("button", { name: "Run again on 2 devices" }));
    const dialog = await screen.findByRole("dialog", { name: "Run again where it failed" });
    expect((await within(dialog).findByTestId("review-script")).textContent).toBe("exit $N");
    expect(await violations(dialog)).toEqual([]);
    await userEvent.click(within(dialog).getByRole("button", { name: "Run exactly this again" }));
    await waitFor(() => expect(router.state.location.pathname).toBe("/jobs/00000000000000000000000000000002"));
    expect(sent.find((each) => each.method === "POST")?.body).toEqual({
      ...request,
      targets: { all: false, guids: ["00000000-0000-4000-8000-000000000007", "00000000-0000-4000-8000-000000000008"] },
    });
  });

  it("is not offered without the right, nor where all is well", async () => {
    const { unmount } = await renderApp(`/jobs/${ID}`, { ...answers, "GET /session": sessionWith(["jobs.read"]) });
    expect(await screen.findByRole("button", { name: /^Run again/ })).toHaveProperty("disabled", true);
    unmount();
    await renderApp(`/jobs/${ID}`, { ...answers, [`GET /jobs/${ID}/runs`]: { items: runs.slice(0, 1), next_cursor: null }, [`GET /jobs/${ID}`]: { ...job, runs_total: 1, counts: { succeeded: 1 } } });
    await screen.findByRole("row", { name: "host-0, Succeeded" });
    expect(screen.queryByRole("button", { name: /^Run again/ })).toBeNull();
    expect(screen.queryByRole("button", { name: "Same output as one" })).toBeNull();
  });
});
