import { infiniteQueryOptions, queryOptions, useMutation, useQueryClient } from "@tanstack/react-query";
import { assemblyDigest } from "../../api/assembly";
import { change, get } from "../../api/client";
import type { AssemblyDiff, AssemblyDraft, AssemblyShown, AssemblyStanding, Page } from "../../api/types";
import { paths } from "../../lib/paths";

export const libraryKeys = {
  all: ["library"] as const,
  list: (q: string, archived: boolean) => ["library", "list", q, archived] as const,
  one: (assembly: string) => ["library", "one", assembly] as const,
};

export function assembliesQuery(q: string, archived: boolean) {
  return infiniteQueryOptions({
    queryKey: libraryKeys.list(q, archived),
    queryFn: ({ pageParam, signal }) =>
      get<Page<AssemblyStanding>>(
        paths.assemblies({ q, in: q ? "script" : null, state: archived ? "archived" : null, cursor: pageParam }),
        signal,
      ),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
  });
}

/** A version with whether its content is what its digest names; the newest unless one is named. */
export function assemblyQuery(assembly: string, version?: number) {
  return queryOptions({
    queryKey: [...libraryKeys.one(assembly), version ?? null],
    queryFn: async ({ signal }) => {
      const shown = await get<AssemblyShown>(paths.assembly(assembly, { version }), signal);
      return { ...shown, isWhole: (await assemblyDigest(shown.content)) === shown.version.digest };
    },
  });
}

export function diffQuery(assembly: string, from: number, to: number) {
  return queryOptions({
    queryKey: [...libraryKeys.one(assembly), "diff", from, to],
    queryFn: ({ signal }) => get<AssemblyDiff>(paths.assemblyDiff(assembly, { from, to }), signal),
  });
}

function useChange<V>(act: (variables: V) => Promise<AssemblyStanding>) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: act,
    onSettled: () => client.invalidateQueries({ queryKey: libraryKeys.all }),
  });
}

export interface SaveAssembly {
  draft: AssemblyDraft;
  note: string;
}

/** Makes an assembly, or writes a further version of one, based on the newest that was seen. */
export function useSaveAssembly(of: { assembly: string; based_on: number } | null) {
  return useChange((save: SaveAssembly) =>
    of
      ? change<AssemblyStanding>(paths.assembly(of.assembly), { based_on: of.based_on, ...save })
      : change<AssemblyStanding>(paths.newAssembly, save),
  );
}

export function usePublish(assembly: string) {
  return useChange((body: { version: number; digest: string }) =>
    change<AssemblyStanding>(paths.changeAssembly(assembly, "publish"), body),
  );
}

export function useArchive(assembly: string) {
  return useChange((archived: boolean) =>
    change<AssemblyStanding>(paths.changeAssembly(assembly, "archive"), { archived }),
  );
}
