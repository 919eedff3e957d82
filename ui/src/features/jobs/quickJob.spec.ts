import { describe, expect, it } from "vitest";
import { readQuickJob, SCRIPT_LIMIT_BYTES, splitTargets, splitText, type QuickJob } from "./quickJob";

const form: QuickJob = {
  all: false,
  guids: ["g1"],
  language: "bash",
  context: "SYSTEM",
  timeoutMs: 60_000,
  expiresInMs: 600_000,
  script: "uname",
};

describe("a quick job", () => {
  it("becomes a request", () => {
    expect(readQuickJob(form)).toEqual({
      request: {
        targets: { all: false, guids: ["g1"] },
        role: "script",
        verb: "run",
        language: "bash",
        context: "SYSTEM",
        script: "uname",
        args: [],
        env: {},
        timeout_ms: 60_000,
        expires_in_ms: 600_000,
      },
    });
    expect(readQuickJob({ ...form, all: true })).toMatchObject({ request: { targets: { all: true, guids: [] } } });
  });

  it("says what is missing", () => {
    expect(readQuickJob({ ...form, guids: [], script: " \n" })).toEqual({
      targets: "Choose at least one device.",
      script: "Write a script first.",
    });
    expect(readQuickJob({ ...form, script: "ü".repeat(SCRIPT_LIMIT_BYTES / 2 + 1) })).toMatchObject({
      script: "The script is larger than 256 KiB.",
    });
  });

  it("splits its targets by what will happen", () => {
    const split = splitTargets([
      { presence: "online", status: "active" },
      { presence: "offline", status: "active" },
      { presence: "stale", status: "active" },
      { presence: "online", status: "quarantined" },
    ]);
    expect(split).toEqual({ now: 1, later: 2, never: 1 });
    expect(splitText(split)).toBe("Runs now on 1 device, waits for 2 devices not online, leaves out 1 device not active.");
  });
});
