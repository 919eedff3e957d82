// A job in waves: where it stands, and the button that lets it go on.

import { screen, waitFor } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import type { Waves } from "../../api/types";
import { renderApp, sessionWith } from "../../test/app";
import { JOB, jobAnswers, jobWith, runWith } from "../../test/jobs";

vi.mock("../../api/keys", async () => (await import("../../test/keys")).keys());

const waves: Waves = {
  wave: 1,
  waves_total: 3,
  devices: 1,
  failures: 1,
  brake: "0",
  state: "braked",
  next_at: null,
  reason: "the brake stopped the job: 1 of 1 failed",
};
const job = jobWith({ runs_total: 2, counts: { failed: 1, queued: 1 }, state: "paused", waves });
const runs = [
  runWith({ run: "01".repeat(16), state: "failed", exit_code: 4 }),
  runWith({ run: "02".repeat(16), guid: "00000000-0000-4000-8000-000000000002", hostname: "host-1" }),
];

describe("a job that its brake stopped", () => {
  it("says so and goes on at a word", async () => {
    const { sent } = await renderApp(`/jobs/${JOB}`, {
      ...jobAnswers(job, runs, {}),
      [`POST /jobs/${JOB}/continue`]: { ...job, state: "active", waves: { ...waves, wave: 2, state: "running", reason: null } },
    });
    await screen.findByText("Wave 1 of 3, 1 failed: the brake stopped the job: 1 of 1 failed");
    await userEvent.click(await screen.findByRole("button", { name: "Continue" }));
    await waitFor(() => expect(sent.some((each) => each.path.endsWith("/continue"))).toBe(true));
  });

  it("offers nothing where nothing waits, and says which right is missing", async () => {
    const running = { ...job, state: "active" as const, waves: { ...waves, state: "running" as const, reason: null } };
    const first = await renderApp(`/jobs/${JOB}`, jobAnswers(running, runs, {}));
    await screen.findByText("Wave 1 of 3, 1 failed");
    expect(screen.queryByRole("button", { name: "Continue" })).toBeNull();
    first.unmount();
    await renderApp(`/jobs/${JOB}`, { ...jobAnswers(job, runs, {}), "GET /session": sessionWith(["jobs.read"]) });
    const button = await screen.findByRole<HTMLButtonElement>("button", { name: "Continue" });
    expect(button.disabled).toBe(true);
    expect(button.title).toBe("You do not hold the right jobs.run.");
  });
});
