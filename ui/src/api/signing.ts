// The signature that every changing request carries.
//
// The signed bytes begin with 0xFF and a context, so that no signed form passes for another. `signing.vector.json`
// pins them: the services check the same vector.

import { base64url, concat, fromHex, hex, lengthPrefixed, utf8, type Bytes } from "./encoding";

const FORM_MARK = Uint8Array.of(0xff);
const REQUEST_CONTEXT = "borealis/request/v1";
const DEVICES_CONTEXT = "borealis devices";
const ACT_CONTEXT = "borealis/act/v1";
const RERUN_CONTEXT = "borealis rerun";
const COMMAND_BYTES = 16;
const BINDING_CONTEXT = "borealis/session-binding/v1";

export interface SignedRequest {
  method: string;
  /** Path with the query, as sent. */
  path: string;
  /** Exactly the bytes sent; empty when there is no body. */
  body: Uint8Array<ArrayBuffer>;
  session_id: string;
  command_id: string;
  /** RFC 3339 UTC with milliseconds. */
  issued_at: string;
}

/** Makes the exact bytes that the session key signs. */
export async function requestBytes(request: SignedRequest): Promise<Bytes> {
  const digest = await sha256(request.body);
  return concat([
    FORM_MARK,
    utf8(REQUEST_CONTEXT),
    lengthPrefixed(utf8(request.method)),
    lengthPrefixed(utf8(request.path)),
    lengthPrefixed(digest),
    lengthPrefixed(utf8(request.session_id)),
    lengthPrefixed(utf8(request.command_id)),
    lengthPrefixed(utf8(request.issued_at)),
  ]);
}

/** Digests what makes two requests the same command: method, path and body. */
export async function requestDigest(request: Pick<SignedRequest, "method" | "path" | "body">): Promise<Bytes> {
  const fields = [utf8(request.method), utf8(request.path), request.body].map(lengthPrefixed);
  return sha256(concat([FORM_MARK, utf8(REQUEST_CONTEXT), ...fields]));
}

/** Digests the devices of a job, given by their GUIDs in any order. */
export async function devicesDigest(guids: readonly string[]): Promise<Bytes> {
  const plain = [...new Set(guids.map((guid) => guid.replaceAll("-", "")))].toSorted();
  return sha256(concat([utf8(DEVICES_CONTEXT), ...plain.map(fromHex)]));
}

/** The command that does some runs of a job again: asking twice makes one job. */
export async function rerunCommand(job: string, runs: readonly string[]): Promise<string> {
  const parts = [utf8(RERUN_CONTEXT), fromHex(job), ...runs.toSorted().map(fromHex)];
  return hex((await sha256(concat(parts))).slice(0, COMMAND_BYTES));
}

export async function sha256(bytes: Bytes): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** One request, for which alone a passkey may be asked. */
export type Act = Pick<SignedRequest, "method" | "path" | "body" | "command_id">;

/** Digests one request, as the service that owns the change does. */
export async function actOf(act: Act & { session_id: string }): Promise<Bytes> {
  const digest = await sha256(act.body);
  const form = concat([
    FORM_MARK,
    utf8(ACT_CONTEXT),
    lengthPrefixed(utf8(act.method)),
    lengthPrefixed(utf8(act.path)),
    lengthPrefixed(digest),
    lengthPrefixed(utf8(act.session_id)),
    lengthPrefixed(utf8(act.command_id)),
  ]);
  return sha256(form);
}

/** Makes the value of the header `Borealis-Signature`. */
export async function signatureHeader(key: CryptoKey, request: SignedRequest): Promise<string> {
  const signature = await crypto.subtle.sign("Ed25519", key, await requestBytes(request));
  return `v1 ${request.session_id} ${request.issued_at} ${base64url(new Uint8Array(signature))}`;
}

/** Ties the session's public key to the log-in: only who completed OPAQUE knows the key of this HMAC. */
export async function keyBinding(opaqueSessionKey: Bytes, sessionPublicKey: Bytes): Promise<string> {
  const key = await crypto.subtle.importKey("raw", opaqueSessionKey, { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
  ]);
  const message = concat([FORM_MARK, utf8(BINDING_CONTEXT), lengthPrefixed(sessionPublicKey)]);
  return base64url(new Uint8Array(await crypto.subtle.sign("HMAC", key, message)));
}
