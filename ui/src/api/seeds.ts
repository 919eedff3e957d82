// Secrets that are proved and never sent: those of installer codes, of links that set a password, and of API tokens. The
// server knows the public half of a key pair, and gets signatures. `signing.vector.json` pins the derived ones.

import { base64url, concat, fromBase64, lengthPrefixed, utf8, type Bytes } from "./encoding";

type Purpose = "borealis/installer-code/v1" | "borealis/link/v1";

/** What stands before the 32 bytes of an Ed25519 seed in PKCS #8 (RFC 8410). */
const PKCS8_HEAD = Uint8Array.of(0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20);

interface SeedKey {
  privateKey: CryptoKey;
  publicKey: Bytes;
}

async function keyOf(purpose: Purpose, secret: Bytes): Promise<SeedKey> {
  const material = await crypto.subtle.importKey("raw", secret, "HKDF", false, ["deriveBits"]);
  const how = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(0), info: utf8(purpose) };
  return keyFromSeed(new Uint8Array(await crypto.subtle.deriveBits(how, material, 256)));
}

async function keyFromSeed(seed: Bytes): Promise<SeedKey> {
  const privateKey = await crypto.subtle.importKey("pkcs8", concat([PKCS8_HEAD, seed]), "Ed25519", true, ["sign"]);
  const { x } = await crypto.subtle.exportKey("jwk", privateKey);
  if (x === undefined) throw new Error("this browser tells no public key");
  return { privateKey, publicKey: fromBase64(x) };
}

/** A link that is about to be made: what the server is told, and the secret that stands behind the link's "#". */
export interface LinkDraft {
  public_key: string;
  secret: string;
}

const LINK_SECRET_BYTES = 32;

export async function draftLink(
  secret: Bytes = crypto.getRandomValues(new Uint8Array(LINK_SECRET_BYTES)),
): Promise<LinkDraft> {
  const { publicKey } = await keyOf("borealis/link/v1", secret);
  return { public_key: base64url(publicKey), secret: base64url(secret) };
}

/** An API token that is about to be made: what the server is told, and how to write the token once it has answered. */
export interface TokenDraft {
  public_key: string;
  write: (biscuit: string) => string;
}

const TOKEN_PREFIX = "brl1";
const SEED_BYTES = 32;

/** The token's key has to be shown with it, so it is drawn as a seed; nothing of it is kept here or sent. */
export async function draftToken(seed: Bytes = crypto.getRandomValues(new Uint8Array(SEED_BYTES))): Promise<TokenDraft> {
  const { publicKey } = await keyFromSeed(seed);
  return {
    public_key: base64url(publicKey),
    write: (biscuit) => `${TOKEN_PREFIX}.${base64url(seed)}.${biscuit}`,
  };
}

const CODE_PREFIX = "BRL1-";
const CODE_SECRET_BYTES = 16;
const HINT_CHARS = 4;
const CHECK_BYTES = 4;
const BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

function base32(bytes: Uint8Array): string {
  let text = "";
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5) {
      bits -= 5;
      text += BASE32[(value >> bits) & 31];
      value &= (1 << bits) - 1;
    }
  }
  return bits > 0 ? text + BASE32[(value << (5 - bits)) & 31] : text;
}

/** An installer code that is about to be minted: what the server is told, and how to write the code once it has answered. */
export interface CodeDraft {
  public_key: string;
  hint: string;
  write: (caSha256: Bytes) => Promise<string>;
}

export async function draftCode(
  secret: Bytes = crypto.getRandomValues(new Uint8Array(CODE_SECRET_BYTES)),
): Promise<CodeDraft> {
  const { publicKey } = await keyOf("borealis/installer-code/v1", secret);
  return {
    public_key: base64url(publicKey),
    hint: base32(secret).slice(0, HINT_CHARS),
    write: async (caSha256) => {
      const body = concat([secret, caSha256]);
      const check = new Uint8Array(await crypto.subtle.digest("SHA-256", body)).slice(0, CHECK_BYTES);
      return CODE_PREFIX + base32(concat([body, check]));
    },
  };
}

/** A registration as the link's key signs it: at the start without, at the end with what the server answered. */
export interface LinkUse {
  username: string;
  registration_request: string;
  registered?: { response: string; record: string };
}

export interface Link {
  public_key: string;
  prove: (use: LinkUse) => Promise<string>;
}

const FORM_MARK = Uint8Array.of(0xff);
const LINK_USE_CONTEXT = "borealis/link-use/v1";

/** Opens a link by the secret behind its "#". */
export async function openLink(secret: string): Promise<Link> {
  const { privateKey, publicKey } = await keyOf("borealis/link/v1", fromBase64(secret));
  return {
    public_key: base64url(publicKey),
    prove: async ({ username, registration_request, registered }) => {
      const fields = [
        registered ? "finish" : "start",
        username,
        registration_request,
        registered?.response ?? "",
        registered?.record ?? "",
      ];
      const parts = fields.map((field) => lengthPrefixed(utf8(field)));
      const bytes = concat([FORM_MARK, utf8(LINK_USE_CONTEXT), ...parts]);
      return base64url(new Uint8Array(await crypto.subtle.sign("Ed25519", privateKey, bytes)));
    },
  };
}
