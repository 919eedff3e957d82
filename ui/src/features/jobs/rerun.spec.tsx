// A job that is over: what printed the same as one line, and what failed once more.

import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import type { OutputGroup } from "../../api/types";
import { renderApp, sessionWith } from "../../test/app";
import { digest, shownWith } from "../../test/assemblies";
import { violations } from "../../test/axe";
import { askedOf, JOB, jobAnswers, jobWith, runWith } from "../../test/jobs";

vi.mock("../../api/keys", async () => (await import("../../test/keys")).keys());

const job = jobWith({ runs_total: 3, counts: { succeeded: 1, failed: 1, expired: 1 }, state: "done" });
const runs = (["succeeded", "failed", "expired"] as const).map((state, at) =>
  runWith({
    run: `0${at}`.repeat(16),
    guid: `00000000-0000-4000-8000-00000000000${9 - at}`,
    hostname: `host-${at}`,
    state,
    exit_code: state === "expired" ? null : at,
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
  ...jobAnswers(job, runs, request),
  [`GET /jobs/${JOB}/outputs`]: { job: JOB, open: 1, pending: 0, unreadable: 0, groups_total: 1, items: [group], next_cursor: null },
};

describe("output that is the same", () => {
  it("is shown as one line, names as text", async () => {
    const { container } = await renderApp(`/jobs/${JOB}`, answers);
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
    const { sent, router } = await renderApp(`/jobs/${JOB}`, {
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

  it("runs once more also where a schedule asked for it", async () => {
    const schedule = { name: "nightly", cron: "0 3 * * *", job: request };
    const { sent } = await renderApp(`/jobs/${JOB}`, {
      ...answers,
      [`GET /jobs/${JOB}/request`]: { ...askedOf(schedule), path: "/api/v1/schedules" },
      "POST /jobs": { job: "00000000000000000000000000000002", runs_total: 2 },
    });
    await userEvent.click(await screen.findByRole("button", { name: "Run again on 2 devices" }));
    const dialog = await screen.findByRole("dialog", { name: "Run again where it failed" });
    expect((await within(dialog).findByTestId("review-script")).textContent).toBe("exit $N");
    await userEvent.click(within(dialog).getByRole("button", { name: "Run exactly this again" }));
    await waitFor(() => expect(sent.find((each) => each.method === "POST")?.body).toMatchObject({ script: "exit $N" }));
  });

  it("that ran an assembly runs once more only while the library has what the request names", async () => {
    const asked = { targets: { all: true, guids: [] }, assembly: { assembly: "a5", version: 2, digest } };
    const again = { ...answers, [`GET /jobs/${JOB}/request`]: askedOf(asked) };
    const { unmount } = await renderApp(`/jobs/${JOB}`, { ...again, "GET /library/assemblies/a5": shownWith() });
    await userEvent.click(await screen.findByRole("button", { name: "Run again on 2 devices" }));
    await waitFor(() => expect(screen.getByRole("button", { name: "Run exactly this again" })).toHaveProperty("disabled", false));
    expect(screen.getByTestId("review-script").textContent).toContain("rm -rf");
    unmount();
    await renderApp(`/jobs/${JOB}`, { ...again, "GET /library/assemblies/a5": shownWith({ digest: "ef".repeat(32) }) });
    await userEvent.click(await screen.findByRole("button", { name: "Run again on 2 devices" }));
    await screen.findByText(/the library does not have what the request names/);
    expect(screen.getByRole("button", { name: "Run exactly this again" })).toHaveProperty("disabled", true);
  });

  it("is not offered without the right, nor where all is well", async () => {
    const { unmount } = await renderApp(`/jobs/${JOB}`, { ...answers, "GET /session": sessionWith(["jobs.read"]) });
    expect(await screen.findByRole("button", { name: /^Run again/ })).toHaveProperty("disabled", true);
    unmount();
    await renderApp(`/jobs/${JOB}`, { ...answers, [`GET /jobs/${JOB}/runs`]: { items: runs.slice(0, 1), next_cursor: null }, [`GET /jobs/${JOB}`]: { ...job, runs_total: 1, counts: { succeeded: 1 } } });
    await screen.findByRole("row", { name: "host-0, Succeeded" });
    expect(screen.queryByRole("button", { name: /^Run again/ })).toBeNull();
    expect(screen.queryByRole("button", { name: "Same output as one" })).toBeNull();
  });
});
