// Schedules: when they fire is the server's word, what runs now is exactly what was read.

import { screen, waitFor, within } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { describe, expect, it, vi } from "vitest";
import type { Schedule, ScheduleHistory } from "../../api/types";
import { renderApp, sessionWith } from "../../test/app";
import { violations } from "../../test/axe";
import { emptyJob } from "../jobs/quickJob";
import { readSchedule, ruleOf, ruleOfSchedule, type ScheduleForm } from "./scheduleForm";

vi.mock("../../api/keys", async () => (await import("../../test/keys")).keys());

const AT = "2026-11-22T10:00:00.000Z";

const schedule: Schedule = {
  schedule: "5c",
  name: "<i>nightly</i> report",
  created_at: AT,
  created_by: "bob",
  state: "active",
  reason: null,
  code: null,
  follows: "cron:0 9 * * FRI",
  zone: "Europe/Oslo",
  start: AT,
  end: null,
  misfire: "all",
  misfire_most: 3,
  late_limit_ms: 3_600_000,
  concurrency: "forbid",
  delay_ms: 0,
  role: "script",
  verb: "run",
  language: "bash",
  context: "SYSTEM",
  timeout_ms: 60_000,
  expires_in_ms: 86_400_000,
  guids: [],
  next_at: "2026-11-27T08:00:00.000Z",
  next_local: "2026-11-27T09:00:00+01:00",
  skips: [],
  queued: null,
  fired: 3,
  not_run: 1,
  last_job: "0b",
  last_at: AT,
};
const line: ScheduleHistory = {
  at: AT,
  what: "not_run",
  due: AT,
  count: 1,
  reason: "still_running",
  note: null,
  code: null,
  by: null,
  job: null,
  devices: null,
};
const history = {
  items: [{ ...line, what: "ran", reason: null, job: "0b00112233", devices: 2 }, line],
  next_cursor: null,
};
const preview = {
  schedule: schedule.follows,
  zone: schedule.zone,
  zones_release: "2026f",
  from: AT,
  until: null,
  more: true,
  items: [
    { at: "2026-11-27T08:00:00.000Z", local: "2026-11-27T09:00:00+01:00", change: null, note: null },
    { at: "2027-03-28T01:00:00.000Z", local: "2027-03-28T03:00:00+02:00", change: "gap", note: "02:30 does not exist" },
  ],
};
const body = JSON.stringify({
  name: schedule.name,
  cron: "0 9 * * FRI",
  job: { targets: { all: true, guids: [] }, language: "bash", script: "echo\u200b due" },
});
const answers = {
  "GET /schedules": { items: [schedule], next_cursor: null },
  "GET /schedules/5c": schedule,
  "GET /schedules/5c/history": history,
  "GET /schedules/5c/request": {
    schedule: "5c",
    created_by: "bob",
    method: "POST",
    path: "/api/v1/schedules",
    body_base64: btoa(String.fromCharCode(...new TextEncoder().encode(body))),
  },
  "GET /schedules/preview": preview,
};

const form: ScheduleForm = {
  name: " nightly ",
  follows: "cron",
  cron: " 0 9 * * FRI ",
  every: "2",
  unit: "weeks",
  zone: "Europe/Oslo",
  start: "",
  end: "",
  misfire: "once",
  most: "10",
  lateLimitMs: 0,
  concurrency: "allow",
  jitterMs: 0,
};

describe("what is typed", () => {
  it("becomes a rule, with times on the clock of the zone", () => {
    expect(ruleOf(form)).toEqual({ cron: "0 9 * * FRI", zone: "Europe/Oslo" });
    expect(ruleOf({ ...form, cron: " " })).toBeNull();
    expect(ruleOf({ ...form, follows: "daily" })).toEqual({ kind: "daily", zone: "Europe/Oslo" });
    expect(ruleOf({ ...form, follows: "every" })).toEqual({ kind: "every_2_weeks", zone: "Europe/Oslo" });
    expect(ruleOf({ ...form, follows: "every", every: "0" })).toBeNull();
    expect(ruleOf({ ...form, follows: "once" })).toBeNull();
    expect(ruleOf({ ...form, follows: "once", start: "2026-11-24T09:00", end: "2026-12-01T00:00" })).toEqual({
      kind: "once",
      zone: "Europe/Oslo",
      start: "2026-11-24T08:00:00.000Z",
      end: "2026-11-30T23:00:00.000Z",
    });
    expect(ruleOfSchedule(schedule)).toEqual({ cron: "0 9 * * FRI", zone: "Europe/Oslo", start: AT });
    expect(ruleOfSchedule({ ...schedule, follows: "daily", end: AT })).toMatchObject({ kind: "daily", end: AT });
  });

  it("becomes a request, or names what is missing", () => {
    const job = { ...emptyJob, aim: "all" as const, script: "true" };
    expect(readSchedule(form, job)).toMatchObject({
      request: { name: "nightly", cron: "0 9 * * FRI", misfire: "once", job: { script: "true", targets: { all: true } } },
    });
    expect(readSchedule({ ...form, name: "", cron: "" }, emptyJob)).toEqual({
      errors: {
        name: "Give it a name of at most 128 characters",
        timing: "Say when it fires",
        targets: "Choose at least one device.",
        script: "Write a script first.",
        values: {},
      },
    });
  });

  it("says what becomes of late firings, and no more than counts", () => {
    const job = { ...emptyJob, aim: "all" as const, script: "true" };
    const late = (of: Partial<ScheduleForm>): unknown => {
      const read = readSchedule({ ...form, ...of }, job);
      return "request" in read ? [read.request.misfire_most, read.request.late_limit_ms] : read.errors.most;
    };
    expect(late({})).toEqual([undefined, undefined]);
    expect(late({ lateLimitMs: 3_600_000 })).toEqual([undefined, 3_600_000]);
    expect(late({ misfire: "all", most: " 25 ", lateLimitMs: 3_600_000 })).toEqual([25, 3_600_000]);
    expect(late({ misfire: "skip", most: "x", lateLimitMs: 3_600_000 })).toEqual([undefined, undefined]);
    for (const most of ["", "0", "101", "2.5", "-1"]) expect(late({ misfire: "all", most })).toBe("A number from 1 to 100");
  });
});

describe("schedules", () => {
  it("are listed with their next firing, as text", async () => {
    const { container } = await renderApp("/schedules", answers);
    const row = await screen.findByRole("row", { name: "<i>nightly</i> report, Active" });
    within(row).getByText("0 9 * * FRI");
    expect(container.querySelector("i")).toBeNull();
    expect(await violations(container)).toEqual([]);
  });

  it("show what the server says of the rule that is typed, and why it never fires", async () => {
    const { sent, container } = await renderApp("/schedules/new", {
      ...answers,
      "GET /devices": { items: [], next_cursor: null, total: 0 },
      "GET /schedules/preview": (url: URL) =>
        url.searchParams.get("cron") === "0 0 30 2 *"
          ? { status: 422, code: "schedule_never_fires", detail: "no day is 30 February" }
          : preview,
    });
    await screen.findByText("Type when it fires to see the next times.");
    const cron = screen.getByLabelText("Cron text");
    await userEvent.click(cron);
    await userEvent.paste("0 9 * * FRI");
    await screen.findByText("2026-11-27T09:00:00+01:00");
    screen.getByText("02:30 does not exist");
    expect(await violations(container)).toEqual([]);
    await userEvent.clear(cron);
    await userEvent.paste("0 0 30 2 *");
    await screen.findByText("This fires never: no day is 30 February");
    const asked = sent.filter((each) => each.path.startsWith("/schedules/preview")).at(-1)?.path ?? "";
    expect(new URLSearchParams(asked.split("?")[1]).get("count")).toBe("20");
    await userEvent.clear(cron);
    await userEvent.paste("0 9 * * FRI");
    await userEvent.click(screen.getByText("Last month"));
    await screen.findByText("As it would have fired in the month before this one.");
    const past = sent.filter((each) => each.path.startsWith("/schedules/preview")).at(-1)?.path ?? "";
    expect(Object.fromEntries(new URLSearchParams(past.split("?")[1]))).toMatchObject({ cron: "0 9 * * FRI", period: "last_month" });
    await userEvent.click(screen.getByRole("button", { name: "Make schedule" }));
    screen.getByText("Give it a name of at most 128 characters");
    screen.getByText("Choose at least one device.");
    expect(sent.some((each) => each.method === "POST")).toBe(false);
  });

  it("are paused, left out once and ended, and tell why something did not run", async () => {
    const changed = { ...schedule, state: "paused" };
    const { sent, container } = await renderApp("/schedules/5c", {
      ...answers,
      "POST /schedules/5c/skip": schedule,
      "POST /schedules/5c/pause": { status: 409, code: "wrong_state", detail: "the schedule is paused already" },
      "POST /schedules/5c/archive": changed,
    });
    await screen.findByText("the one before still ran");
    screen.getByRole("link", { name: "0b001122" });
    screen.getByText(/^Run the newest 3, each; none that is more than 1 h.* late$/);
    await screen.findByText("02:30 does not exist");
    expect(await violations(container)).toEqual([]);
    await userEvent.click(screen.getByRole("button", { name: "Skip next" }));
    await screen.findByText("The next firing is left out.");
    await userEvent.click(screen.getByRole("button", { name: "Pause" }));
    await screen.findByText("the schedule is paused already");
    await userEvent.click(screen.getByRole("button", { name: "End for good" }));
    const dialog = await screen.findByRole("dialog");
    await userEvent.click(within(dialog).getByRole("button", { name: "End for good" }));
    await waitFor(() =>
      expect(sent.filter((each) => each.method === "POST").map((each) => each.path)).toEqual([
        "/schedules/5c/skip",
        "/schedules/5c/pause",
        "/schedules/5c/archive",
      ]),
    );
  });

  it("run now exactly what was read", async () => {
    const { sent } = await renderApp("/schedules/5c", { ...answers, "POST /schedules/5c/run": { status: 403, code: "approval_required", detail: "too many devices" } });
    await userEvent.click(await screen.findByRole("button", { name: "Run now" }));
    const dialog = await screen.findByRole("dialog");
    expect((await within(dialog).findByTestId("review-script")).textContent).toBe("echo⟨U+200B⟩ due");
    within(dialog).getByText('"0 9 * * FRI"');
    expect(await violations(dialog)).toEqual([]);
    await userEvent.click(within(dialog).getByRole("button", { name: "Run exactly this" }));
    await within(dialog).findByText("too many devices");
    expect(sent.find((each) => each.method === "POST")?.body).toEqual({ request: expect.stringMatching(/^[0-9a-f]{64}$/) });
  });

  it("are only shown to whoever may not change them", async () => {
    await renderApp("/schedules/5c", { ...answers, "GET /session": sessionWith(["jobs.read"]) });
    for (const name of ["Run now", "Pause", "Skip next", "End for good"]) {
      expect(await screen.findByRole("button", { name })).toHaveProperty("disabled", true);
    }
  });
});
