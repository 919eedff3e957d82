// @vitest-environment node
import { describe, expect, it } from "vitest";
import { fromBase64, fromHex, hex } from "./encoding";
import { draftCode, draftLink, draftToken, openLink } from "./seeds";
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

  it("that is drawn here opens as the one that it is", async () => {
    const given = vector.link;
    expect(await draftLink(fromBase64(given.secret))).toEqual({ public_key: given.public_key, secret: given.secret });
    const { secret, public_key } = await draftLink();
    expect(secret).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect((await openLink(secret)).public_key).toBe(public_key);
    expect((await draftLink()).secret).not.toBe(secret);
  });
});

describe("an API token", () => {
  it("carries the seed of the key that the server is told of", async () => {
    // RFC 8032, 7.1, test 1.
    const seed = fromHex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    const draft = await draftToken(seed);
    expect(hex(fromBase64(draft.public_key))).toBe("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    expect(draft.write("EAbc-_")).toBe("brl1.nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A.EAbc-_");
  });

  it("has another key each time", async () => {
    const [one, other] = [await draftToken(), await draftToken()];
    expect(one.public_key).not.toBe(other.public_key);
    expect(one.write("b")).toMatch(/^brl1\.[A-Za-z0-9_-]{43}\.b$/);
    expect(one.write("b")).not.toBe(other.write("b"));
  });
});
