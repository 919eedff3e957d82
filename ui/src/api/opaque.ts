// The password is proved, not sent (OPAQUE, RFC 9807). The WebAssembly half is loaded when a form needs it.

import { postPublic } from "./client";
import { base64url, fromBase64 } from "./encoding";
import { makeSessionKey, storeSession } from "./keys";
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

/** Registers the first operator with the secret of the set-up link. */
export async function setUp(secret: string, name: string, password: string): Promise<void> {
  const { client } = await loadOpaque();
  const username = canonicalUsername(name);
  const { clientRegistrationState, registrationRequest } = client.startRegistration({ password });
  const { registration_response } = await postPublic<{ registration_response: string }>("/setup", {
    step: "start",
    secret,
    username,
    registration_request: registrationRequest,
  });
  const { registrationRecord } = client.finishRegistration({
    clientRegistrationState,
    registrationResponse: registration_response,
    password,
    identifiers: identifiers(username),
  });
  await postPublic("/setup", { step: "finish", secret, username, registration_record: registrationRecord });
}

/** The password did not open the envelope: told by the browser itself, before anything more is sent. */
export class WrongPassword extends Error {}

/** Logs in and binds a fresh session key that never leaves this browser. */
export async function logIn(name: string, password: string): Promise<void> {
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
  const answer = await postPublic<{ session_id: string; username: string; expires_at: string }>("/login", {
    step: "finish",
    login_id,
    login_finalization: proof.finishLoginRequest,
    key_binding: await keyBinding(fromBase64(proof.sessionKey), publicKey),
  });
  // The answer's token is left unread: this page works on the HttpOnly cookie.
  await storeSession({
    session_id: answer.session_id,
    username: answer.username,
    expires_at: answer.expires_at,
    privateKey,
  });
}
