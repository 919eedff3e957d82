// The version of an assembly that a request names in the place of a script: what its digest names, or nothing.

import { useQuery } from "@tanstack/react-query";
import type { Assembly } from "../../api/types";
import { assemblyQuery } from "../library/queries";
import type { Members } from "./AskedView";

export interface AskedAssembly {
  version: number;
  content: Assembly;
  /** What was given for its variables. */
  values: Readonly<Record<string, unknown>>;
}

export interface AskedAssemblyState {
  /** Null where the request names none, and until it was read. */
  assembly: AskedAssembly | null;
  /** Whether all of what the request asks for is there to be read. */
  isReadable: boolean;
  /** Why it is not. */
  error: unknown;
}

export function useAskedAssembly(members: Members | null): AskedAssemblyState {
  const named = members?.get("assembly") ?? null;
  const use = (typeof named === "object" && named !== null ? named : {}) as Record<string, unknown>;
  const { assembly, version, digest, variables } = use;
  const isNamed = typeof assembly === "string" && typeof version === "number" && typeof digest === "string";
  const query = useQuery({
    ...assemblyQuery(isNamed ? assembly : "", isNamed ? version : 0),
    enabled: isNamed,
    staleTime: Infinity,
  });
  const { data } = query;
  if (named === null) return { assembly: null, isReadable: members !== null, error: null };
  const isThis = isNamed && data !== undefined && data.isWhole && data.version.digest === digest;
  if (!isThis) {
    const isOther = data !== undefined || !isNamed;
    return { assembly: null, isReadable: false, error: query.error ?? (isOther ? new Error(OTHER) : null) };
  }
  const values = typeof variables === "object" && variables !== null ? (variables as Record<string, unknown>) : {};
  return { assembly: { version, content: data.content, values }, isReadable: true, error: null };
}

const OTHER = "the library does not have what the request names";
