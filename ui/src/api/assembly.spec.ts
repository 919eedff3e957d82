// A version is named by the same digest here and at the services: `assembly.vector.json` is read by both.

import { describe, expect, it } from "vitest";
import { assemblyDigest } from "./assembly";
import vector from "./assembly.vector.json";
import type { Assembly } from "./types";

const versions = vector.versions as { content: Assembly; digest: string }[];

describe("the digest of a version", () => {
  it("is that of the services", async () => {
    expect(await Promise.all(versions.map(({ content }) => assemblyDigest(content)))).toEqual(
      versions.map(({ digest }) => digest),
    );
  });

  it("is another whatever differs, and the same in whatever order fields come", async () => {
    const [, whole] = versions;
    if (!whole) throw new Error("the vector has two versions");
    const { content, digest } = whole;
    const reversed = Object.fromEntries(Object.entries(content).toReversed()) as unknown as Assembly;
    expect(await assemblyDigest(reversed)).toBe(digest);
    const [first, ...rest] = content.variables;
    if (!first) throw new Error("the version has variables");
    const others: Partial<Assembly>[] = [
      { name: `${content.name} ` },
      { script: content.script.replace("\r\n", "\n") },
      { type: "sh" },
      { timeout_ms: content.timeout_ms - 1 },
      { sites: null },
      { tags: [] },
      { files: [] },
      { variables: rest },
      { variables: [{ ...first, required: !first.required }, ...rest] },
      { variables: [{ ...first, default: "8" }, ...rest] },
    ];
    const digests = await Promise.all(others.map((other) => assemblyDigest({ ...content, ...other })));
    expect(new Set([digest, ...digests]).size).toBe(others.length + 1);
  });
});
