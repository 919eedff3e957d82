// The one way to the API. Reads go on the session cookie alone; whatever changes anything is signed here, and nowhere else.

import { randomId, utf8 } from "./encoding";
import { ApiError, endsSession, fromProblem, LOCAL_CODES, networkError } from "./errors";
import { loadSession } from "./keys";
import { signatureHeader, type Act } from "./signing";
import type { CountedPage } from "./types";

export const API = "/api/v1";

type SessionEnded = () => void;
let sessionEnded: SessionEnded = () => {};

/** Names what happens when the server says that the session is over. */
export function onSessionEnded(act: SessionEnded): void {
  sessionEnded = act;
}

type ProveAgain = (act: Act | null) => Promise<boolean>;
let proveAgain: ProveAgain | null = null;

/** Names who asks for a proof where the server wants one once more, for the act that waits; tells whether it was given. */
export function onStepUpRequired(ask: ProveAgain | null): void {
  proveAgain = ask;
}

async function send(path: string, init: RequestInit): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, credentials: "same-origin", cache: "no-store", redirect: "error" });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw networkError();
  }
  const text = await response.text();
  let body: unknown = null;
  try {
    body = text === "" ? {} : JSON.parse(text);
  } catch {
    if (response.ok) {
      throw new ApiError(LOCAL_CODES.unreadable, "The answer is not JSON.", response.status, "never", null);
    }
  }
  if (!response.ok) throw fromProblem(response.status, body, response.headers.get("x-request-id"));
  return body;
}

/** Reads. */
export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  try {
    return (await send(`${API}${path}`, { method: "GET", signal: signal ?? null })) as T;
  } catch (error) {
    if (endsSession(error)) sessionEnded();
    throw error;
  }
}

/** Reads a list to its end, page by page, but no more than the limit. */
export async function getAll<T>(
  pathOf: (cursor: string | null) => string,
  limit: number,
  signal?: AbortSignal,
): Promise<{ items: T[]; total: number }> {
  const items: T[] = [];
  let cursor: string | null = null;
  for (;;) {
    // Each page begins where the one before ended.
    // oxlint-disable-next-line no-await-in-loop
    const page: CountedPage<T> = await get(pathOf(cursor), signal);
    items.push(...page.items);
    cursor = page.next_cursor ?? null;
    if (cursor === null || items.length >= limit) return { items, total: page.total ?? items.length };
  }
}

/** Sends to one of the public routes (set-up and log-in), which carry their own proof. */
export async function postPublic<T>(path: string, body: unknown): Promise<T> {
  return (await send(`${API}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: utf8(JSON.stringify(body)),
  })) as T;
}

/** Dangerous acts of several requests; a proof for one of them would not serve for the next. */
const SEVERAL_STEPS: ReadonlySet<string> = new Set(["/passkeys"]);

/**
 * Changes something: signs the exact bytes with the session key.
 *
 * The command id, drawn unless it is given, makes it safe to send the same change again, so a lost answer is asked for once more.
 */
export async function change<T>(path: string, body: unknown = {}, command_id = randomId()): Promise<T> {
  const bytes = utf8(JSON.stringify(body));
  try {
    return await changeOnce<T>(path, bytes, command_id);
  } catch (error) {
    const act = SEVERAL_STEPS.has(path) ? null : { method: "POST", path: `${API}${path}`, body: bytes, command_id };
    if (error instanceof ApiError && error.code === "step_up_required" && proveAgain && (await proveAgain(act))) {
      return await changeOnce<T>(path, bytes, command_id);
    }
    if (!(error instanceof ApiError) || error.code !== LOCAL_CODES.network) {
      if (endsSession(error)) sessionEnded();
      throw error;
    }
    return await changeOnce<T>(path, bytes, command_id);
  }
}

async function changeOnce<T>(path: string, body: Uint8Array<ArrayBuffer>, command_id: string): Promise<T> {
  const session = await loadSession();
  if (!session) {
    throw new ApiError(LOCAL_CODES.keyMissing, "This browser holds no session key.", 0, "never", null);
  }
  const signature = await signatureHeader(session.privateKey, {
    method: "POST",
    path: `${API}${path}`,
    body,
    session_id: session.session_id,
    command_id,
    issued_at: new Date().toISOString(),
  });
  return (await send(`${API}${path}`, {
    method: "POST",
    headers: {
      "content-type": "application/json",
      "idempotency-key": command_id,
      "borealis-signature": signature,
    },
    body,
  })) as T;
}
