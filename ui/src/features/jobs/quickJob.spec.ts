import { describe, expect, it } from "vitest";
import { readQuickJob, SCRIPT_LIMIT_BYTES, splitOf, splitText, type QuickJob } from "./quickJob";
import { previewPath } from "./useAim";

const form: QuickJob = {
  aim: "chosen",
  guids: ["g1"],
  sites: ["oslo", "bergen"],
  filter: " os = linux ",
  except: ["g9"],
  language: "bash",
  context: "SYSTEM",
  timeoutMs: 60_000,
  expiresInMs: 600_000,
  retries: 0,
  backoffMs: 60_000,
  script: "uname",
  kept: null,
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
  });

  it("names its devices in one way, whatever was typed for the others", () => {
    const targets = (of: Partial<QuickJob>): unknown => {
      const read = readQuickJob({ ...form, ...of });
      return "request" in read ? read.request.targets : read.targets;
    };
    const less = { filter: "os = linux", except: ["g9"] };
    expect(targets({ aim: "all" })).toEqual({ all: true, guids: [], ...less });
    expect(targets({ aim: "sites" })).toEqual({ all: false, guids: [], sites: ["oslo", "bergen"], ...less });
    expect(targets({ aim: "sites", filter: " ", except: [] })).toEqual({ all: false, guids: [], sites: ["oslo", "bergen"] });
    expect(targets({ aim: "sites", sites: [] })).toBe("Choose at least one site.");
    expect(targets({ aim: "all", filter: "", except: [] })).toEqual({ all: true, guids: [] });
  });

  it("is tried by the same names, as long as a path holds them", () => {
    expect(previewPath({ all: false, guids: [], sites: ["oslo", "bergen"], filter: "os = linux", except: ["g9"] }, "SYSTEM")).toBe(
      "/jobs/preview?context=SYSTEM&limit=500&sites=oslo%2Cbergen&filter=os+%3D+linux&except=g9",
    );
    expect(previewPath({ all: true, guids: [] }, "CURRENTUSER")).toBe("/jobs/preview?context=CURRENTUSER&limit=500&all=true");
    expect(previewPath({ all: true, guids: [] }, "SYSTEM", { assembly: "a1", version: 3 })).toMatch(/&all=true&assembly=a1&version=3$/);
    const guids = Array.from({ length: 300 }, (_, at) => `00000000-0000-4000-8000-${String(at).padStart(12, "0")}`);
    expect(previewPath({ all: false, guids }, "SYSTEM")).toBeNull();
  });

  it("is tried again as often as one says", () => {
    expect(readQuickJob(form)).not.toHaveProperty("request.retries");
    expect(readQuickJob({ ...form, retries: 3 })).toMatchObject({ request: { retries: 3, backoff_ms: 60_000 } });
  });

  it("says what is missing", () => {
    expect(readQuickJob({ ...form, guids: [], script: " \n" })).toEqual({
      targets: "Choose at least one device.",
      script: "Write a script first.",
      values: {},
    });
    expect(readQuickJob({ ...form, script: "ü".repeat(SCRIPT_LIMIT_BYTES / 2 + 1) })).toMatchObject({
      script: "The script is larger than 256 KiB.",
    });
  });

  it("names a version of an assembly in the place of a script, with values that do", () => {
    const variable = { label: "", required: false, choices: [], description: "", default: "" };
    const kept = {
      use: { assembly: "a5", version: 3, digest: "ab".repeat(32) },
      variables: [
        { ...variable, name: "days", type: "number" as const, required: true, default: "7" },
        { ...variable, name: "path", type: "string" as const, required: true },
      ],
      values: { path: "/tmp" },
    };
    const read = readQuickJob({ ...form, script: "", kept });
    expect(read).toMatchObject({ request: { assembly: { ...kept.use, variables: { path: "/tmp" } }, args: [] } });
    expect(JSON.stringify(read)).not.toMatch(/language|script":"|env/);
    expect(readQuickJob({ ...form, kept: { ...kept, values: { days: "x" } } })).toMatchObject({
      values: { days: "A number", path: "It has to have a value" },
    });
  });

  it("splits its targets by what will happen", () => {
    const split = splitOf([
      { presence: "online", status: "active" },
      { presence: "offline", status: "active" },
      { presence: "stale", status: "active" },
      { presence: "online", status: "quarantined" },
    ]);
    expect(split).toEqual({ total: 4, online: 2, unable: 1 });
    expect(splitText(split)).toBe("4 devices: 2 online, 2 once back. 1 device cannot run it.");
    expect(splitText({ total: 1, online: 1, unable: 0 })).toBe("1 device: 1 online.");
    expect(splitText({ total: 0, online: 0, unable: 0 })).toBe("No active device is meant.");
  });
});
