// @vitest-environment node
import { describe, expect, it } from "vitest";
import { fromHex } from "./encoding";
import { draftCode, openLink } from "./seeds";
import vector from "./signing.vector.json";

describe("an installer code", () => {
  it("is the vector's", async () => {
    const { secret, ca_sha256, public_key, hint, text } = vector.installer_code;
    const draft = await draftCode(fromHex(secret));
    expect({ public_key: draft.public_key, hint: draft.hint }).toEqual({ public_key, hint });
    expect(await draft.write(fromHex(ca_sha256))).toBe(text);
  });

  it("is another one each time", async () => {
    const [one, other] = [await draftCode(), await draftCode()];
    expect(one.public_key).not.toBe(other.public_key);
    const ca = new Uint8Array(32);
    expect(await one.write(ca)).toMatch(/^BRL1-[A-Z2-7]{84}$/);
    expect(await one.write(ca)).not.toBe(await other.write(ca));
  });
});

describe("a link", () => {
  it("is proved as the vector says", async () => {
    const given = vector.link;
    const link = await openLink(given.secret);
    expect(link.public_key).toBe(given.public_key);
    const start = { username: given.username, registration_request: given.registration_request };
    expect(await link.prove(start)).toBe(given.start_proof);
    const registered = { response: given.registration_response, record: given.registration_record };
    expect(await link.prove({ ...start, registered })).toBe(given.finish_proof);
  });
});
