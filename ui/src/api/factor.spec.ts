// @vitest-environment node
import { describe, expect, it } from "vitest";
import { base32, fromHex, hex, utf8 } from "./encoding";
import { otpauth, proveFactor, readFactor, recoveryCodes, totpSecret, type Factor } from "./factor";
import vector from "./signing.vector.json";

const given = vector.factor;
const exchange = fromHex(given.opaque_session_key);

function factor(text: string): Factor {
  const read = readFactor(text);
  if (!read) throw new Error(`${text} is no code`);
  return read;
}

describe("the second factor", () => {
  it("is made as the services make it", async () => {
    const secret = await totpSecret(exchange);
    expect(hex(secret)).toBe(given.totp_secret);
    expect(otpauth(secret, "ada", "fleet.example:5000")).toBe(given.address);
    expect(await recoveryCodes(exchange)).toEqual(given.recovery_codes);
  });

  it("is proved as the services prove it", async () => {
    expect(await proveFactor(exchange, factor(given.totp.code))).toEqual({ kind: "totp", tag: given.totp.tag });
    const recovery = await proveFactor(exchange, factor(given.recovery.code.toLowerCase()));
    expect(recovery).toEqual({ kind: "recovery", tag: given.recovery.tag });
  });

  it("tells a code of the app from a recovery code and from neither", () => {
    expect(readFactor(" 123 456 ")).toEqual({ kind: "totp", code: "123456" });
    expect(readFactor("abcd-efgh-ijkl-mnop")?.kind).toBe("recovery");
    for (const text of ["", "12345", "1234567", "abcdef", "abcd-efgh-ijkl-mno1"]) expect(readFactor(text)).toBeNull();
  });
});

describe("base32", () => {
  it("is that of RFC 4648 without padding", () => {
    const pairs = [
      ["", ""],
      ["f", "MY"],
      ["fo", "MZXQ"],
      ["foo", "MZXW6"],
      ["foob", "MZXW6YQ"],
      ["fooba", "MZXW6YTB"],
      ["foobar", "MZXW6YTBOI"],
    ];
    for (const [text, encoded] of pairs) expect(base32(utf8(text ?? ""))).toBe(encoded);
  });
});
