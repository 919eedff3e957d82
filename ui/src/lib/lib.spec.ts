import { describe, expect, it } from "vitest";
import { CODE_STATES, DEVICE_STATUSES, PRESENCES, RUN_STATES, SCHEDULE_STATES, TOKEN_STATES, USER_STATES } from "../api/types";
import { factRows, factTable } from "./facts";
import { localPath } from "./localPath";
import { displayLines, LINE_LIMIT, plainText } from "./output";
import { checkPassword } from "./password";
import { paths } from "./paths";
import * as states from "./states";
import { absolute, hover, relative, instantOf } from "./time";
import { duration, size } from "./units";

describe("labels", () => {
  it.each([
    ["run", RUN_STATES, states.RUN_MARKS],
    ["schedule", SCHEDULE_STATES, states.SCHEDULE_MARKS],
    ["presence", PRESENCES, states.PRESENCE_MARKS],
    ["device", DEVICE_STATUSES, states.DEVICE_STATUS_MARKS],
    ["code", CODE_STATES, states.CODE_MARKS],
    ["user", USER_STATES, states.USER_MARKS],
    ["token", TOKEN_STATES, states.TOKEN_MARKS],
  ] as const)("are one for each %s state, and all differ", (_, names, marks) => {
    const all = marks as Record<string, states.Mark>;
    expect(Object.keys(all).sort()).toEqual([...names].sort());
    expect(new Set(Object.values(all).map((mark) => mark.label)).size).toBe(names.length);
  });

  it("read Unknown for a state from the future", () => {
    expect(states.markOf(states.RUN_MARKS, "teleported").label).toBe("Unknown");
    expect(states.markOf(states.RUN_MARKS, "toString").label).toBe("Unknown");
  });

  it("sum a job up", () => {
    const job = (counts: object, state: "awaiting_approval" | "active" | "paused" | "done" = "done", cancelled = false) =>
      states.jobMark({ counts, state, cancelled }).label;
    expect(job({ running: 1 }, "active")).toBe("Running");
    expect(job({ running: 1 }, "active", true)).toBe("Cancelling");
    expect(job({ queued: 3 }, "awaiting_approval")).toBe("Awaiting approval");
    expect(job({ queued: 3 }, "awaiting_approval", true)).toBe("Cancelling");
    expect(job({ failed: 1, queued: 3 }, "paused")).toBe("Paused");
    expect(job({ failed: 1, queued: 3 }, "paused", true)).toBe("Cancelling");
    expect(job({ succeeded: 3 })).toBe("Succeeded");
    expect(job({ succeeded: 3, timed_out: 1 })).toBe("Timed out");
    expect(job({ succeeded: 3, timed_out: 1, failed: 1 })).toBe("Failed");
    expect(job({ cancelled: 2 }, "done", true)).toBe("Cancelled");
    expect(states.troubleCount({ counts: { failed: 2, refused: 1, succeeded: 9 } })).toBe(3);
  });
});

describe("durations and sizes", () => {
  it.each([
    [0, "0 ms"],
    [850, "850 ms"],
    [12_400, "12.4 s"],
    [59_990, "1 m 00 s"],
    [187_000, "3 m 07 s"],
    [8_040_000, "2 h 14 m"],
    [442_800_000, "5 d 3 h"],
    [null, "–"],
    [-1, "–"],
  ])("%s ms reads %s", (ms, text) => expect(duration(ms)).toBe(text));

  it.each([
    [0, "0 B"],
    [1023, "1023 B"],
    [1024, "1.0 KiB"],
    [1_048_575, "1.0 MiB"],
    [34_359_738_368, "32.0 GiB"],
    [undefined, "–"],
  ])("%s bytes read %s", (bytes, text) => expect(size(bytes)).toBe(text));
});

describe("instants", () => {
  const now = Date.parse("2026-11-22T10:00:00.000Z");

  it("are shown in the viewer's zone", () => {
    expect(absolute("2026-11-22T10:00:07.000Z", "Europe/Oslo")).toBe("2026-11-22 11:00:07");
    expect(absolute("2026-07-22T22:30:00.000Z", "Asia/Kathmandu")).toBe("2026-07-23 04:15:00");
    expect(hover("2026-11-22T10:00:07.000Z", "Europe/Oslo")).toContain("2026-11-22T10:00:07.000Z (UTC)");
  });

  it.each([
    ["2026-11-22T09:59:58.000Z", "now"],
    ["2026-11-22T09:59:30.000Z", "30 s ago"],
    ["2026-11-22T09:12:00.000Z", "48 min ago"],
    ["2026-11-22T13:30:00.000Z", "in 3 h"],
    ["2026-11-20T10:00:00.000Z", "2026-11-20 10:00"],
    [null, "–"],
    ["never", "–"],
  ])("%s reads %s", (at, text) => expect(relative(at, now, "UTC")).toBe(text));
});

describe("output of scripts", () => {
  it("loses escape codes, controls and direction marks", () => {
    expect(plainText("\u001b[31mred\u001b[0m \u001b]0;title\u0007ok\r\nnext\rover\u0007\u202etxt")).toBe(
      "red ok\nnext\nover\ufffd\ufffdtxt",
    );
  });

  it("comes in lines, and an endless line in pieces", () => {
    expect(displayLines("a\n\nb\n")).toEqual(["a", "", "b"]);
    expect(displayLines("")).toEqual([]);
    expect(displayLines("x".repeat(LINE_LIMIT * 2 + 1)).map((line) => line.length)).toEqual([LINE_LIMIT, LINE_LIMIT, 1]);
  });
});

describe("a new password", () => {
  const accepted = (password: string, name = "ada.lovelace") => checkPassword(password, name, password).accepted;

  it.each(["short", "password1234", "P@ssw0rd!2026", "123456789012", "aaaaaaaaaaaaaa", "qwertyuiop12", "borealis-admin-2026", "Ada.Lovelace-77!", "correcthorsebatterystaple", "abcdefghijklmnop"])(
    "%s is refused",
    (password) => expect(accepted(password)).toBe(false),
  );

  it.each(["violet-otter-plays-17-drums", "kX9#mPq2$vLw8", "møyfri gråspurv på taket"])("%s is accepted", (password) =>
    expect(accepted(password)).toBe(true),
  );

  it("has to be typed twice the same", () => {
    expect(checkPassword("kX9#mPq2$vLw8", "ada", "kX9#mPq2$vLw").accepted).toBe(false);
  });

  it("is rated in words", () => {
    expect(checkPassword("password1234", "ada", "").strengthLabel).toBe("Too easy");
    expect(checkPassword("violet-otter-plays-17-drums", "ada", "").strengthLabel).toBe("Strong");
  });
});

describe("facts", () => {
  it("become rows and tables of text, whatever their shape", () => {
    expect(factRows({ total_bytes: 2048, os_name: "x", cpu_hot: true, none: null })).toEqual([
      { name: "Total", value: "2.0 KiB" },
      { name: "OS name", value: "x" },
      { name: "CPU hot", value: "yes" },
      { name: "None", value: "–" },
    ]);
    expect(factTable([{ a: 1 }, { b: ["x", "y"] }, "plain"])).toEqual({
      columns: [
        { key: "a", name: "A" },
        { key: "b", name: "B" },
        { key: "value", name: "Value" },
      ],
      rows: [
        ["1", "–", "–"],
        ["–", "x, y", "–"],
        ["–", "–", "plain"],
      ],
    });
    expect(factTable([])).toBeNull();
    expect(factRows("text")).toEqual([]);
  });
});

describe("paths", () => {
  it("encode what they carry", () => {
    expect(paths.device("../x?y")).toBe("/devices/..%2Fx%3Fy");
    expect(paths.devices({ q: "a&b c", limit: 5, cursor: null })).toBe("/devices?q=a%26b+c&limit=5");
    expect(paths.jobOutput("j", { cursor: 0, wait_ms: 9 })).toBe("/jobs/j/output?cursor=0&wait_ms=9");
  });

  it("of the log-in lead nowhere else", () => {
    expect(localPath("/jobs?x=1")).toBe("/jobs?x=1");
    for (const bad of ["//evil.example", "https://evil.example", "/\\evil.example", "", 7, undefined]) {
      expect(localPath(bad)).toBeUndefined();
    }
  });
});

describe("a time on the clock of a zone", () => {
  it.each([
    ["2026-11-24T09:00", "Europe/Oslo", "2026-11-24T08:00:00.000Z"],
    ["2026-07-24T09:00", "Europe/Oslo", "2026-07-24T07:00:00.000Z"],
    ["2027-03-28T01:59", "Europe/Oslo", "2027-03-28T00:59:00.000Z"],
    ["2027-03-28T03:00", "Europe/Oslo", "2027-03-28T01:00:00.000Z"],
    ["2026-11-24T09:00", "Asia/Kathmandu", "2026-11-24T03:15:00.000Z"],
    ["2026-11-24T09:00", "UTC", "2026-11-24T09:00:00.000Z"],
  ])("%s in %s is %s", (local, zone, at) => {
    expect(instantOf(local, zone)).toBe(at);
  });

  it("is nothing where it is no time", () => {
    expect(instantOf("", "UTC")).toBeNull();
  });
});
