// A version of an assembly for tests.

import { assemblyDigest } from "../api/assembly";
import type { Assembly, AssemblyShown, AssemblyStanding, AssemblyVersion } from "../api/types";
import { AT } from "./jobs";

export const content: Assembly = {
  name: "<b>clean</b>",
  description: "Removes old files",
  category: "disk",
  type: "bash",
  script: "rm -rf \"$KEEP\u200b\"\n",
  variables: [
    { name: "days", label: "", type: "number", default: "7", required: true, choices: [], description: "How old" },
  ],
  files: [],
  timeout_ms: 90_000,
  sites: null,
  tags: ["nightly"],
};

export const digest = await assemblyDigest(content);

/** Version 2, as the server shows it: a draft, unless told. */
export function shownWith(of: Partial<AssemblyVersion> = {}, standing: Partial<AssemblyStanding> = {}): AssemblyShown {
  const version: AssemblyVersion = {
    version: 2,
    digest,
    state: "draft",
    author: "bob",
    at: AT,
    note: "older files go",
    published_by: null,
    published_at: null,
    ...of,
  };
  return {
    standing: {
      assembly: "a5",
      name: content.name,
      description: content.description,
      category: content.category,
      type: content.type,
      sites: null,
      tags: content.tags,
      latest: 2,
      latest_digest: digest,
      published: 1,
      published_digest: "cd".repeat(32),
      archived: false,
      created_at: AT,
      created_by: "ada",
      updated_at: AT,
      updated_by: "bob",
      ...standing,
    },
    version,
    content,
    versions: [version, { ...version, version: 1, state: "published", note: "" }],
  };
}
