// Passkeys. The challenge that one signs is made here and at the server, of the server's nonce and of what it is for: the
// session key that a log-in binds, or session and act of a step-up. So nobody between can put another key in its place.

import { change, postPublic } from "./client";
import { base64url, concat, fromBase64, lengthPrefixed, utf8, type Bytes } from "./encoding";
import { ApiError, LOCAL_CODES } from "./errors";
import { loadSession, makeSessionKey, storeSession } from "./keys";
import { actOf, sha256, type Act } from "./signing";
import type { Passkey } from "./types";

const FORM_MARK = Uint8Array.of(0xff);
/** As long as the server waits. */
const TIMEOUT_MS = 5 * 60_000;
/** ES256 and RS256; every authenticator has one of them. */
const ALGORITHMS = [-7, -257];

/** Why no passkey can be used on this page. */
export type PasskeyTrouble = "browser" | "address";

/** Says why no passkey can be used here, or nothing. A passkey is for a name; an address has none. */
export function passkeyTrouble(hostname: string = window.location.hostname): PasskeyTrouble | null {
  if (!("PublicKeyCredential" in window) || !("credentials" in navigator)) return "browser";
  return /^[0-9.]+$/.test(hostname) || hostname.includes(":") ? "address" : null;
}

/** What a passkey is asked for. */
export type Asked =
  | { for: "register"; session_id: string; session_key: Bytes }
  | { for: "log-in"; session_key: Bytes }
  | { for: "step-up"; session_id: string; session_key: Bytes; act: Bytes | null };

/** Makes the challenge of what a passkey is asked for. */
export async function challengeOf(asked: Asked, nonce: Bytes): Promise<Bytes> {
  switch (asked.for) {
    case "register":
      return digestOf("borealis/passkey-register/v1", [utf8(asked.session_id), asked.session_key, nonce]);
    case "log-in":
      return digestOf("borealis/passkey-login/v1", [asked.session_key, nonce]);
    case "step-up": {
      const act = asked.act ?? new Uint8Array(0);
      return digestOf("borealis/passkey-step-up/v1", [utf8(asked.session_id), asked.session_key, act, nonce]);
    }
  }
}

async function digestOf(context: string, fields: readonly Uint8Array[]): Promise<Bytes> {
  return sha256(concat([FORM_MARK, utf8(context), ...fields.map(lengthPrefixed)]));
}

/** The authenticator gave nothing: its owner said no, it took too long, or the browser forbids it. */
function notGiven(cause: unknown): unknown {
  if (!(cause instanceof DOMException)) return cause;
  const why = /certificate/i.test(cause.message)
    ? "This browser gives no passkey to a page whose certificate it does not trust."
    : cause.name === "InvalidStateError"
      ? "This authenticator holds a passkey of yours already."
      : cause.name === "NotAllowedError" || cause.name === "AbortError"
        ? "The passkey was not used: it was called off, took too long, or there is none for this page."
        : cause.message;
  return new ApiError(LOCAL_CODES.passkey, why, 0, "never", null);
}

interface Question {
  nonce: string;
  rp_id: string;
}

async function ask(question: Question, asked: Asked, allow: readonly string[]): Promise<unknown> {
  let credential: Credential | null;
  try {
    credential = await navigator.credentials.get({
      publicKey: {
        challenge: await challengeOf(asked, fromBase64(question.nonce)),
        rpId: question.rp_id,
        userVerification: "required",
        timeout: TIMEOUT_MS,
        allowCredentials: allow.map((id) => ({ type: "public-key", id: fromBase64(id) })),
      },
    });
  } catch (cause) {
    throw notGiven(cause);
  }
  const { rawId, response } = credential as PublicKeyCredential;
  const { clientDataJSON, authenticatorData, signature, userHandle } = response as AuthenticatorAssertionResponse;
  // What was asked by its id may leave its owner out; the server asks for it all the same.
  return {
    credential_id: text(rawId),
    client_data_json: text(clientDataJSON),
    authenticator_data: text(authenticatorData),
    signature: text(signature),
    user_handle: userHandle ? text(userHandle) : "",
  };
}

function text(bytes: ArrayBuffer): string {
  return base64url(new Uint8Array(bytes));
}

/** Logs in with a passkey, and binds a fresh session key that never leaves this browser. */
export async function logInWithPasskey(): Promise<void> {
  const { privateKey, publicKey } = await makeSessionKey();
  const started = await postPublic<Question & { login_id: string }>("/login", {
    step: "passkey_start",
    host: window.location.hostname,
    session_public_key: base64url(publicKey),
  });
  const assertion = await ask(started, { for: "log-in", session_key: publicKey }, []);
  const { session_id, username, expires_at } = await postPublic<{
    session_id: string;
    username: string;
    expires_at: string;
  }>("/login", { step: "passkey_finish", login_id: started.login_id, assertion });
  // The answer's token is left unread: this page works on the HttpOnly cookie.
  await storeSession({ session_id, username, expires_at, privateKey, publicKey });
}

async function ownSession(): Promise<{ session_id: string; session_key: Bytes }> {
  const session = await loadSession();
  if (!session?.publicKey) {
    throw new ApiError(LOCAL_CODES.keyMissing, "This browser does not know its session key any more.", 0, "never", null);
  }
  return { session_id: session.session_id, session_key: session.publicKey };
}

/** Makes a passkey with which the operator logs in from now on. */
export async function registerPasskey(name: string): Promise<Passkey> {
  const started = await change<
    Question & { ceremony_id: string; user_handle: string; username: string; exclude: string[] }
  >("/passkeys", { step: "start", host: window.location.hostname });
  const asked: Asked = { for: "register", ...(await ownSession()) };
  let credential: Credential | null;
  try {
    credential = await navigator.credentials.create({
      publicKey: {
        challenge: await challengeOf(asked, fromBase64(started.nonce)),
        rp: { id: started.rp_id, name: "Borealis" },
        user: { id: fromBase64(started.user_handle), name: started.username, displayName: started.username },
        pubKeyCredParams: ALGORITHMS.map((alg) => ({ type: "public-key", alg })),
        authenticatorSelection: { residentKey: "required", requireResidentKey: true, userVerification: "required" },
        attestation: "none",
        timeout: TIMEOUT_MS,
        excludeCredentials: started.exclude.map((id) => ({ type: "public-key", id: fromBase64(id) })),
      },
    });
  } catch (cause) {
    throw notGiven(cause);
  }
  const made = (credential as PublicKeyCredential).response as AuthenticatorAttestationResponse;
  return change<Passkey>("/passkeys", {
    step: "finish",
    ceremony_id: started.ceremony_id,
    name,
    made: { client_data_json: text(made.clientDataJSON), authenticator_data: text(made.getAuthenticatorData()) },
  });
}

/** Proves with a passkey who is there, for one act, or for whatever is done in the next minutes. */
export async function stepUpWithPasskey(act: Act | null): Promise<void> {
  const own = await ownSession();
  const digest = act ? await actOf({ ...act, session_id: own.session_id }) : null;
  const started = await change<Question & { ceremony_id: string; allow: string[] }>("/step-up/passkey", {
    step: "start",
    host: window.location.hostname,
    ...(digest ? { act: base64url(digest) } : {}),
  });
  const assertion = await ask(started, { for: "step-up", ...own, act: digest }, started.allow);
  await change("/step-up/passkey", { step: "finish", ceremony_id: started.ceremony_id, assertion });
}
