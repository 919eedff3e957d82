// The second factor. What it needs is made here and at the server out of the exchange that proved the password: the secret
// of an authenticator app, recovery codes, and the proof of a code. None of them is ever sent.

import { base32, base64url, concat, hex, lengthPrefixed, utf8, type Bytes } from "./encoding";

export type FactorKind = "totp" | "recovery";

/** A code as its owner has it: the app's digits, or a recovery code in capitals without hyphens. */
export interface Factor {
  kind: FactorKind;
  code: string;
}

const FORM_MARK = Uint8Array.of(0xff);
const SECRET_BYTES = 20;
const RECOVERY_BYTES = 10;
const RECOVERY_CODES = 10;

/** Reads what a person typed: six digits, or a recovery code; null for what is neither. */
export function readFactor(text: string): Factor | null {
  const plain = text.replaceAll(/[\s-]/g, "").toUpperCase();
  if (/^[0-9]{6}$/.test(plain)) return { kind: "totp", code: plain };
  if (/^[A-Z2-7]{16}$/.test(plain)) return { kind: "recovery", code: plain };
  return null;
}

/** Proves a code to whoever knows the secret of the same exchange. */
export async function proveFactor(secret: Bytes, factor: Factor): Promise<{ kind: FactorKind; tag: string }> {
  const text =
    factor.kind === "totp"
      ? factor.code
      : hex(new Uint8Array(await crypto.subtle.digest("SHA-256", utf8(factor.code))));
  const tag = await keyed(secret, "borealis/factor-proof/v1", [utf8(factor.kind), utf8(text)]);
  return { kind: factor.kind, tag: base64url(tag) };
}

/** Makes the secret of an authenticator app out of an exchange. */
export async function totpSecret(secret: Bytes): Promise<Bytes> {
  return (await keyed(secret, "borealis/totp-secret/v1", [])).slice(0, SECRET_BYTES);
}

/** Makes recovery codes out of an exchange. */
export async function recoveryCodes(secret: Bytes): Promise<string[]> {
  const numbers = Array.from({ length: RECOVERY_CODES }, (_, number) => number);
  return Promise.all(
    numbers.map(async (number) => {
      const bytes = await keyed(secret, "borealis/recovery-code/v1", [Uint8Array.of(number)]);
      const text = base32(bytes.slice(0, RECOVERY_BYTES));
      return text.match(/.{4}/g)?.join("-") ?? text;
    }),
  );
}

/** Gives the address by which authenticator apps take a secret. */
export function otpauth(secret: Bytes, username: string, host: string): string {
  const account = encodeURIComponent(`${username}@${host}`);
  return `otpauth://totp/Borealis:${account}?secret=${base32(secret)}&issuer=Borealis&algorithm=SHA1&digits=6&period=30`;
}

async function keyed(secret: Bytes, context: string, fields: readonly Uint8Array[]): Promise<Bytes> {
  const key = await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  const form = concat([FORM_MARK, utf8(context), ...fields.map(lengthPrefixed)]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, form));
}
