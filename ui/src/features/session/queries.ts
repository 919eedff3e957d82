import { queryOptions, type QueryClient } from "@tanstack/react-query";
import { change, get } from "../../api/client";
import { ApiError } from "../../api/errors";
import { destroySession, loadSession } from "../../api/keys";
import type { Session } from "../../api/types";
import { paths } from "../../lib/paths";

export const sessionQuery = queryOptions({
  queryKey: ["session"],
  queryFn: ({ signal }) => get<Session>(paths.session, signal),
  staleTime: 60_000,
});

/** Gives the session when cookie and session key are both there and belong together; else null. */
export async function currentSession(client: QueryClient): Promise<Session | null> {
  const stored = await loadSession();
  if (!stored) return null;
  try {
    const session = await client.ensureQueryData(sessionQuery);
    return session.session_id === stored.session_id ? session : null;
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return null;
    throw error;
  }
}

/** Ends the session at the server, and destroys the key in this browser in any case. */
export async function logOut(): Promise<void> {
  try {
    await change(paths.logout);
  } finally {
    await destroySession();
  }
}
