// @vitest-environment node
import { describe, expect, it } from "vitest";
import { sessionWith } from "../test/session";
import { jobLimit } from "./can";
import matrix from "../../../services/gateway/routes.jsonl?raw";
import type { Session } from "../api/types";
import { holdsEverywhere, pageCan, refusalEverywhere, sitesOf } from "./can";
import { draftOf, NAME, needsEverywhere, readDraft, RIGHTS, rightText, tidySites } from "./rights";

describe("rights", () => {
  it("are those that routes ask for, and no others", () => {
    const lines = matrix.trim().split("\n").map((line): { right: string | null } => JSON.parse(line));
    const asked = new Set(lines.map((line) => line.right).filter((right) => right?.includes(".")));
    expect(RIGHTS.map(({ right }) => right).toSorted()).toEqual([...asked].toSorted());
  });

  it("print as the command line takes them", () => {
    expect(rightText({ right: "jobs.run", sites: ["*"] })).toBe("jobs.run");
    expect(rightText({ right: "jobs.run", sites: ["berlin", "oslo"] })).toBe("jobs.run@berlin+oslo");
  });

  it("are read in their order, and one without a site is named", () => {
    const draft = { ...draftOf([{ right: "jobs.run", sites: ["oslo"] }]), "devices.read": [], "newer.right": ["*"] };
    expect(readDraft(draft)).toEqual({
      lines: [
        { right: "devices.read", sites: [] },
        { right: "jobs.run", sites: ["oslo"] },
        { right: "newer.right", sites: ["*"] },
      ],
      siteless: ["devices.read"],
    });
    expect(readDraft({})).toEqual({ lines: [], siteless: [] });
  });

  it("reach all sites or single ones: what was chosen last counts", () => {
    expect(tidySites(["oslo", "*"])).toEqual(["*"]);
    expect(tidySites(["*", "oslo"])).toEqual(["oslo"]);
    expect(tidySites([])).toEqual([]);
  });

  it("over operators, roles, sites and the audit reach the whole deployment or nothing", () => {
    const narrow = RIGHTS.map(({ right }) => right).filter((right) => !needsEverywhere(right));
    expect(narrow.map((right) => right.split(".")[0])).not.toContain("users");
    expect(narrow).toContain("jobs.run");
    expect(needsEverywhere("newer.right")).toBe(false);
  });
});

describe("a name of a role or a site", () => {
  it.each([
    ["night-shift", true],
    ["a", true],
    ["a".repeat(40), true],
    ["a".repeat(41), false],
    ["", false],
    ["1st", false],
    ["-x", false],
    ["Oslo", false],
    ["o s", false],
  ])("%j: %s", (text, fits) => expect(NAME.test(text)).toBe(fits));
});

describe("a session", () => {
  const session = {
    rights: ["users.read", "jobs.run"],
    sites: ["oslo"],
    reach: [
      { right: "users.read", sites: ["oslo"] },
      { right: "jobs.run", sites: ["oslo"] },
      { right: "jobs.run", sites: ["berlin"] },
    ],
  } as Session;

  it("does not reach the deployment by a right for some sites", () => {
    expect(sitesOf(session, "jobs.run")).toEqual(["oslo", "berlin"]);
    expect(sitesOf(session, "jobs.read")).toEqual([]);
    expect(holdsEverywhere(session, "users.read")).toBe(false);
    expect(pageCan.operators(session)).toBe(false);
    expect(refusalEverywhere(session, "users.read")).toBe("You hold the right users.read for some sites only.");
    expect(refusalEverywhere(session, "users.manage")).toBe("You do not hold the right users.manage.");
    expect(refusalEverywhere(undefined, "users.manage")).toBeUndefined();
  });
});

describe("how many devices a job may be on alone", () => {
  const held = sessionWith(["jobs.read", "jobs.run"]);
  const limited = (...lines: [sites: string[], limit?: number][]) => ({
    ...held,
    reach: lines.map(([sites, limit]) => ({ right: "jobs.run", sites, ...(limit === undefined ? {} : { max_devices: limit }) })),
  });

  it("is the largest that fits a site, and the strictest of the sites", () => {
    expect(jobLimit(held, ["oslo"])).toBeNull();
    expect(jobLimit(limited([["*"], 5]), ["oslo"])).toBe(5);
    expect(jobLimit(limited([["*"], 5], [["oslo"], 9]), ["oslo"])).toBe(9);
    expect(jobLimit(limited([["*"], 5], [["oslo"]]), ["oslo"])).toBeNull();
    expect(jobLimit(limited([["*"], 5], [["oslo"]]), ["oslo", "rome"])).toBe(5);
    expect(jobLimit(limited([["oslo"], 0]), ["oslo", "rome"])).toBe(0);
    expect(jobLimit(limited([["oslo"], 0]), [])).toBeNull();
  });
});
