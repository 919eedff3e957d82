import { infiniteQueryOptions } from "@tanstack/react-query";
import { get } from "../../api/client";
import type { AuditPage, AuditPiece } from "../../api/types";
import { paths } from "../../lib/paths";
import { clean, type AuditFilter } from "./filter";

const PAGE = 100;

export function auditQuery(filter: AuditFilter) {
  const wanted = clean(filter);
  return infiniteQueryOptions({
    queryKey: ["audit", wanted] as const,
    queryFn: ({ pageParam, signal }) =>
      get<AuditPage>(paths.audit({ ...wanted, limit: PAGE, cursor: pageParam }), signal),
    initialPageParam: null as string | null,
    getNextPageParam: (last) => last.next_cursor,
  });
}

/** The services that keep a log. */
export const LOGS = ["access", "enrollment", "signing", "scheduler", "inventory", "library"] as const;

/** What came of checking one service's log; not whole is null when it could not be checked. */
export interface Verified {
  service: string;
  whole: boolean | null;
  checked: number;
  countersigned: AuditPiece["countersigned"];
  finding: AuditPiece["finding"];
  error: string | null;
}

/** Checks one log to its end, piece by piece; tells how far it is in between. */
export async function verifyLog(
  service: string,
  signal: AbortSignal,
  onProgress: (checked: number) => void,
): Promise<Verified> {
  let checked = 0;
  let at: { position?: number; hash?: string } = {};
  for (;;) {
    // Each piece begins where the one before ended.
    // oxlint-disable-next-line no-await-in-loop
    const piece: AuditPiece = await get(paths.verifyAudit({ service, ...at }), signal);
    checked += piece.checked;
    onProgress(checked);
    at = { position: piece.position, hash: piece.hash };
    if (!piece.end && !piece.finding) continue;
    return {
      service,
      // A chain that nobody vouches for may have been cut off, or written anew from its beginning.
      whole: piece.finding ? false : piece.countersigned_error === null ? true : null,
      checked,
      countersigned: piece.countersigned,
      finding: piece.finding,
      error: piece.countersigned_error,
    };
  }
}
