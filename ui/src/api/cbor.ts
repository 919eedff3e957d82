// CBOR as the services write it (RFC 8949, shortest lengths, maps in the order of their fields): as much of it as a digest
// over an assembly needs.

import { concat, utf8, type Bytes } from "./encoding";

export type Encodable = null | boolean | number | string | readonly Encodable[] | ReadonlyMap<string, Encodable>;

const UNSIGNED = 0x00;
const TEXT = 0x60;
const ARRAY = 0x80;
const MAP = 0xa0;

/** Writes a length, or a number that is not negative, in as few bytes as it takes. */
function head(major: number, value: number): Bytes {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no whole number that can be written`);
  if (value < 24) return Uint8Array.of(major | value);
  const size = value < 0x100 ? 1 : value < 0x1_0000 ? 2 : value < 0x1_0000_0000 ? 4 : 8;
  const bytes = new Uint8Array(1 + size);
  const view = new DataView(bytes.buffer, 1);
  bytes[0] = major | (24 + Math.log2(size));
  if (size === 1) view.setUint8(0, value);
  else if (size === 2) view.setUint16(0, value);
  else if (size === 4) view.setUint32(0, value);
  else view.setBigUint64(0, BigInt(value));
  return bytes;
}

export function cbor(value: Encodable): Bytes {
  if (value === null) return Uint8Array.of(0xf6);
  if (typeof value === "boolean") return Uint8Array.of(value ? 0xf5 : 0xf4);
  if (typeof value === "number") return head(UNSIGNED, value);
  if (typeof value === "string") {
    const text = utf8(value);
    return concat([head(TEXT, text.length), text]);
  }
  if (value instanceof Map) {
    const pairs = [...(value as ReadonlyMap<string, Encodable>)];
    return concat([head(MAP, pairs.length), ...pairs.flatMap(([name, each]) => [cbor(name), cbor(each)])]);
  }
  const items = value as readonly Encodable[];
  return concat([head(ARRAY, items.length), ...items.map(cbor)]);
}
