// What names a version of an assembly: the digest of its content, computed from what is shown and taken from no answer.

import { cbor, type Encodable } from "./cbor";
import { hex } from "./encoding";
import { sha256 } from "./signing";
import type { Assembly } from "./types";

/** Puts fields into the order in which the services write them. */
function inOrder<T extends object>(of: T, names: readonly (keyof T & string)[]): Map<string, Encodable> {
  return new Map(names.map((name) => [name, of[name] as Encodable]));
}

/** The digest of a version's content. */
export async function assemblyDigest(content: Assembly): Promise<string> {
  const fields = inOrder(content, [
    "name",
    "description",
    "category",
    "type",
    "script",
    "variables",
    "files",
    "timeout_ms",
    "sites",
    "tags",
  ]);
  fields.set(
    "variables",
    content.variables.map((each) =>
      inOrder(each, ["name", "label", "type", "default", "required", "choices", "description"]),
    ),
  );
  fields.set("files", content.files.map((each) => inOrder(each, ["name", "size_bytes", "mime_type", "digest"])));
  return hex(await sha256(cbor(fields)));
}
