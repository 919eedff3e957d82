// @vitest-environment node
import { describe, expect, it } from "vitest";
import { base64url, concat, fromBase64, fromHex, hex, utf8 } from "./encoding";
import { devicesDigest, keyBinding, requestBytes, requestDigest, rerunCommand, signatureHeader } from "./signing";
import vector from "./signing.vector.json";

const PKCS8_HEAD = fromHex("302e020100300506032b657004220420");

async function keyOf(seed: string): Promise<CryptoKey> {
  return crypto.subtle.importKey("pkcs8", concat([PKCS8_HEAD, fromHex(seed)]), "Ed25519", false, ["sign"]);
}

describe("the signature over a request", () => {
  it.each(vector.requests)("is the vector's for $name", async (given) => {
    const request = { ...given, body: utf8(given.body) };
    expect(hex(await requestBytes(request))).toBe(given.signed_bytes);
    const header = await signatureHeader(await keyOf(given.private_key_seed), request);
    expect(header).toBe(given.header);
    expect(hex(fromBase64(header.split(" ")[3] ?? ""))).toBe(given.signature);
  });

  it("covers every field", async () => {
    const [given] = vector.requests;
    if (!given) throw new Error("the vector is empty");
    const request = { ...given, body: utf8(given.body) };
    const plain = hex(await requestBytes(request));
    for (const change of [
      { method: "GET" },
      { path: `${given.path}?a=1` },
      { body: utf8(`${given.body} `) },
      { session_id: given.command_id },
      { command_id: given.session_id },
      { issued_at: "2026-11-22T10:00:00.001Z" },
    ]) {
      expect(hex(await requestBytes({ ...request, ...change }))).not.toBe(plain);
    }
  });
});

describe("what an approval names", () => {
  it("is the vector's", async () => {
    const given = vector.approval;
    expect(hex(await requestDigest({ ...given, body: utf8(given.body) }))).toBe(given.request_digest);
    for (const guids of [given.devices, given.devices.toReversed(), [...given.devices, ...given.devices]]) {
      expect(hex(await devicesDigest(guids))).toBe(given.devices_digest);
    }
  });
});

describe("the command that does runs again", () => {
  it("is the same whatever order the runs come in", async () => {
    const id = (byte: string): string => byte.repeat(16);
    const command = await rerunCommand(id("01"), [id("01"), id("02")]);
    expect(command).toBe("0333df1b03c39585e31465c7ef716b64");
    expect(await rerunCommand(id("01"), [id("02"), id("01")])).toBe(command);
    expect(await rerunCommand(id("01"), [id("01")])).not.toBe(command);
  });
});

describe("the binding of the session key", () => {
  it("is the vector's", async () => {
    const { opaque_session_key, session_public_key, key_binding } = vector.key_binding;
    expect(await keyBinding(fromHex(opaque_session_key), fromHex(session_public_key))).toBe(key_binding);
  });
});

describe("base64url", () => {
  it("has no padding and comes back", () => {
    for (let length = 0; length < 6; length += 1) {
      const bytes = Uint8Array.from({ length }, (_, index) => 250 + index);
      expect(base64url(bytes)).not.toMatch(/[+/=]/);
      expect(fromBase64(base64url(bytes))).toEqual(bytes);
    }
  });
});
