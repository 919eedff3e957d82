// The password is proved, not sent (OPAQUE, RFC 9807). The WebAssembly half is loaded when a form needs it.

import { change, postPublic } from "./client";
import { base64url, fromBase64, type Bytes } from "./encoding";
import { proveFactor, type Factor, type FactorKind } from "./factor";
import { makeSessionKey, storeSession } from "./keys";
import { openLink } from "./seeds";
import { keyBinding } from "./signing";

const SERVER_IDENTIFIER = "borealis";

async function loadOpaque(): Promise<typeof import("@serenity-kit/opaque")> {
  const opaque = await import("@serenity-kit/opaque");
  await opaque.ready;
  return opaque;
}

/** Starts fetching the WebAssembly half before it is needed. */
export function preloadOpaque(): void {
  loadOpaque().catch(() => {
    // the form says so when it is used
  });
}

export function canonicalUsername(username: string): string {
  return username.trim().toLowerCase();
}

function identifiers(username: string): { client: string; server: string } {
  return { client: username, server: SERVER_IDENTIFIER };
}

/** Registers an operator's password through a link. Its secret stays here: it signs the registration as it was seen here. */
export async function setUp(secret: string, name: string, password: string): Promise<void> {
  const { client } = await loadOpaque();
  const username = canonicalUsername(name);
  const link = await openLink(secret);
  const { clientRegistrationState, registrationRequest } = client.startRegistration({ password });
  const begun = { link: link.public_key, username, registration_request: registrationRequest };
  const { registration_response } = await postPublic<{ registration_response: string }>("/setup", {
    step: "start",
    ...begun,
    proof: await link.prove(begun),
  });
  const { registrationRecord } = client.finishRegistration({
    clientRegistrationState,
    registrationResponse: registration_response,
    password,
    identifiers: identifiers(username),
  });
  const registered = { response: registration_response, record: registrationRecord };
  await postPublic("/setup", {
    step: "finish",
    ...begun,
    registration_record: registrationRecord,
    proof: await link.prove({ ...begun, registered }),
  });
}

/** The password did not open the envelope: told by the browser itself, before anything more is sent. */
export class WrongPassword extends Error {}

/** The log-in that waits for a code of the second factor. */
export interface FactorStep {
  factors: FactorKind[];
  /** Proves a code and begins the session. */
  prove: (factor: Factor) => Promise<void>;
}

interface LoggedIn {
  session_id: string;
  username: string;
  expires_at: string;
}

/** Logs in and binds a fresh session key that never leaves this browser; gives the step that is left, if there is one. */
export async function logIn(name: string, password: string): Promise<FactorStep | null> {
  const { client } = await loadOpaque();
  const username = canonicalUsername(name);
  const { privateKey, publicKey } = await makeSessionKey();
  const { clientLoginState, startLoginRequest } = client.startLogin({ password });
  const { login_id, login_response } = await postPublic<{ login_id: string; login_response: string }>("/login", {
    step: "start",
    username,
    login_request: startLoginRequest,
    session_public_key: base64url(publicKey),
  });
  const proof = client.finishLogin({
    clientLoginState,
    loginResponse: login_response,
    password,
    identifiers: identifiers(username),
  });
  if (!proof) throw new WrongPassword("User name and password do not fit.");
  const secret = fromBase64(proof.sessionKey);
  const answer = await postPublic<LoggedIn | { login_id: string; factors: FactorKind[] }>("/login", {
    step: "finish",
    login_id,
    login_finalization: proof.finishLoginRequest,
    key_binding: await keyBinding(secret, publicKey),
  });
  // The answer's token is left unread: this page works on the HttpOnly cookie.
  const keep = (begun: LoggedIn): Promise<void> =>
    storeSession({
      session_id: begun.session_id,
      username: begun.username,
      expires_at: begun.expires_at,
      privateKey,
      publicKey,
    });
  if ("session_id" in answer) {
    await keep(answer);
    return null;
  }
  return {
    factors: answer.factors,
    prove: async (factor) => {
      const body = { step: "factor", login_id: answer.login_id, factor: await proveFactor(secret, factor) };
      await keep(await postPublic<LoggedIn>("/login", body));
    },
  };
}

/**
 * Proves the password once more within the session, and a code where there is a second factor. Gives the answer, and what
 * both sides know from now on.
 */
export async function proveAgain<T>(
  path: string,
  username: string,
  password: string,
  factor: Factor | null,
): Promise<{ answer: T; secret: Bytes }> {
  const { client } = await loadOpaque();
  const { clientLoginState, startLoginRequest } = client.startLogin({ password });
  const { exchange_id, login_response } = await change<{ exchange_id: string; login_response: string }>(path, {
    step: "start",
    login_request: startLoginRequest,
  });
  const proof = client.finishLogin({
    clientLoginState,
    loginResponse: login_response,
    password,
    identifiers: identifiers(username),
  });
  if (!proof) throw new WrongPassword("The password does not fit.");
  const secret = fromBase64(proof.sessionKey);
  const answer = await change<T>(path, {
    step: "finish",
    exchange_id,
    login_finalization: proof.finishLoginRequest,
    factor: factor ? await proveFactor(secret, factor) : null,
  });
  return { answer, secret };
}

/**
 * Sets another password within the session, proving the one there is, and a code where there is a second factor; tells how
 * many other sessions that ended.
 */
export async function changePassword(
  username: string,
  password: string,
  factor: Factor | null,
  next: string,
): Promise<number> {
  const { client } = await loadOpaque();
  const { clientLoginState, startLoginRequest } = client.startLogin({ password });
  const { clientRegistrationState, registrationRequest } = client.startRegistration({ password: next });
  const started = await change<{ change_id: string; login_response: string; registration_response: string }>("/password", {
    step: "start",
    login_request: startLoginRequest,
    registration_request: registrationRequest,
  });
  const proof = client.finishLogin({
    clientLoginState,
    loginResponse: started.login_response,
    password,
    identifiers: identifiers(username),
  });
  if (!proof) throw new WrongPassword("The password does not fit.");
  const { registrationRecord } = client.finishRegistration({
    clientRegistrationState,
    registrationResponse: started.registration_response,
    password: next,
    identifiers: identifiers(username),
  });
  const { sessions_ended } = await change<{ sessions_ended: number }>("/password", {
    step: "finish",
    change_id: started.change_id,
    login_finalization: proof.finishLoginRequest,
    registration_record: registrationRecord,
    factor: factor ? await proveFactor(fromBase64(proof.sessionKey), factor) : null,
  });
  return sessions_ended;
}
