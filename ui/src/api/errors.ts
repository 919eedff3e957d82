// One mapping from what the API says to what a person reads: what failed, why, what to do, code, request id.

import type { Problem } from "./types";

/** Codes that this page gives itself, beside the server's. */
export const LOCAL_CODES = {
  network: "network",
  unreadable: "unreadable_answer",
  keyMissing: "session_key_missing",
  passkey: "passkey_not_given",
  unexpected: "unexpected",
} as const;

export class ApiError extends Error {
  constructor(
    readonly code: string,
    readonly why: string,
    readonly status: number,
    readonly retry: "never" | "later" | "refresh",
    readonly requestId: string | null,
  ) {
    super(`${code}: ${why}`);
    this.name = "ApiError";
  }
}

export interface ErrorText {
  what: string;
  why: string;
  todo: string;
  code: string;
  requestId: string | null;
}

const SIGN_IN = "Log in again.";
const ASK_RIGHT = "Ask someone who administers Borealis to give you this right.";
const REFRESH = "Reload the list and look again.";
const LATER = "Try again in a moment.";
const REPORT = "Try again; if it stays, look for the request id in the server's log.";

/** What to do, by code. Codes that are not here fall back to their retry class. */
const TODO: Readonly<Record<string, string>> = {
  [LOCAL_CODES.network]: "Check the network and that the server runs, then try again.",
  [LOCAL_CODES.unreadable]: "Check that this address leads to Borealis and not to a proxy's own page.",
  [LOCAL_CODES.keyMissing]: SIGN_IN,
  [LOCAL_CODES.unexpected]: "Reload the page and try again.",
  token_missing: SIGN_IN,
  token_invalid: SIGN_IN,
  token_expired: SIGN_IN,
  token_revoked: SIGN_IN,
  signature_missing: SIGN_IN,
  signature_invalid: "Log out and in again; the session key of this browser does not fit the session.",
  signature_expired: "Set this computer's clock (time and zone) and try again.",
  login_failed: "Check user name and password. Capitals count in the password.",
  factor_required: "Open your authenticator app and type the code that it shows, or a recovery code.",
  factor_invalid: "Wait for the app's next code and type that; each serves once. Check the phone's clock if it stays.",
  [LOCAL_CODES.passkey]: "Try again, or use your password.",
  passkey_unavailable: "Open Borealis under a name instead of an address; a passkey is for a name.",
  passkey_invalid: "Use your password, or another passkey.",
  passkey_challenge: "Try again; an answer serves once, and not for longer than five minutes.",
  passkey_origin: "Open Borealis under the name for which the passkey was made.",
  passkey_unverified: "Let the authenticator check that it is you: by PIN, finger or face.",
  passkey_unknown: "Use your password. A passkey that was removed here can be removed from your device too.",
  passkey_copied: "Log in with your password, remove this passkey and make another.",
  step_up_required: "Prove your password once more, then repeat this.",
  throttled: "Wait a minute, then try again.",
  setup_closed: "The set-up link works once. Log in, or take the newest link from the server's start screen.",
  wrong_origin: "Open Borealis under the address that its start screen names.",
  right_missing: ASK_RIGHT,
  out_of_scope: ASK_RIGHT,
  no_longer_permitted: ASK_RIGHT,
  exceeds_own_rights: "Nobody gives, changes or resets more than they hold. Ask someone who holds all of it.",
  last_administrator: "Make somebody else an administrator first.",
  username_taken: "Choose another name, or reset the operator who has it.",
  name_taken: "Choose another name.",
  role_unknown: REFRESH,
  role_fixed: "This role stays as it is. Make another one.",
  site_unknown: "Make the site first, or choose one that there is.",
  session_required: SIGN_IN,
  link_used: "Ask for a new link.",
  link_expired: "Ask for a new link.",
  not_found: "It may have been removed. Go back to the list.",
  conflict: REFRESH,
  wrong_state: REFRESH,
  invalid_field: "Correct the value and send it again.",
  too_large: "Make it smaller: a script may not be larger than the server takes.",
  code_expired: "Mint a new installer code.",
  code_used: "Mint a new installer code.",
  code_revoked: "Mint a new installer code.",
  code_invalid: "Copy the installer code again, whole.",
  machine_conflict: "Look at the device that has this machine already, then decide.",
  own_approval: "Ask another operator to approve it; nobody approves what they asked for themselves.",
  approval_required: "Another operator has to approve the job first.",
  variable_missing: "Give the variable a value.",
  variable_invalid: "Give the variable a value that fits its type.",
  variable_undeclared: REFRESH,
  credentials_unsupported: "Take the credential out of the assembly; none is handed to devices yet.",
  files_unsupported: "Take the files out of the assembly; none are handed to devices yet.",
  not_published: "Publish the version first.",
  digest_mismatch: REFRESH,
  cron_invalid: "Correct the cron text: minute, hour, day of month, month, day of week.",
  schedule_never_fires: "Choose times that there are; no date ever fits these.",
  zone_unknown: "Choose a time zone by its name, such as Europe/Oslo.",
  interpreter_missing: "Choose another language, or install the interpreter on the device.",
  device_quarantined: "Release the device from quarantine first.",
  clock_skew: "Set the device's clock.",
  storage_full: "Free space on the server's disk.",
  unavailable: "A service of the server is starting or stopped. " + LATER,
};

const BY_RETRY: Readonly<Record<ApiError["retry"], string>> = {
  never: REPORT,
  later: LATER,
  refresh: REFRESH,
};

/** Reads an RFC 9457 problem; anything else of it is taken as absent. */
export function fromProblem(status: number, problem: unknown, requestId: string | null): ApiError {
  const body: Problem = typeof problem === "object" && problem !== null ? (problem as Problem) : {};
  const code = typeof body.code === "string" ? body.code : status >= 500 ? "internal" : LOCAL_CODES.unreadable;
  const why = [body.detail, body.title].find((text) => typeof text === "string" && text !== "");
  const retry = body.retry === "later" || body.retry === "refresh" ? body.retry : "never";
  return new ApiError(
    code,
    why ?? `The server answered with status ${status}.`,
    status,
    retry,
    typeof body.request_id === "string" ? body.request_id : requestId,
  );
}

export function networkError(): ApiError {
  return new ApiError(LOCAL_CODES.network, "The server did not answer.", 0, "later", null);
}

/** Gives the text for a person; `what` names the act that failed. */
export function describe(what: string, error: unknown): ErrorText {
  if (error instanceof ApiError) {
    return {
      what,
      why: error.why,
      todo: TODO[error.code] ?? BY_RETRY[error.retry],
      code: error.code,
      requestId: error.requestId,
    };
  }
  return {
    what,
    why: error instanceof Error ? error.message : String(error),
    todo: TODO[LOCAL_CODES.unexpected] ?? REPORT,
    code: LOCAL_CODES.unexpected,
    requestId: null,
  };
}

/** Tells whether the session is over, so that only a new log-in helps. */
export function endsSession(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    (error.code === LOCAL_CODES.keyMissing ||
      (error.status === 401 && (error.code.startsWith("token_") || error.code === LOCAL_CODES.unreadable)))
  );
}
