import { describe, expect, it } from "vitest";
import { qrPath } from "./QrCode";

/** Reads the path back into rows of modules. */
function modules(text: string): string[] {
  const { path, size } = qrPath(text);
  const rows = Array.from({ length: size }, () => Array.from({ length: size }, () => " "));
  for (const [, x, y, run] of path.matchAll(/M(\d+) (\d+)h(\d+)v1h-\d+z/g)) {
    rows[Number(y)]?.fill("#", Number(x), Number(x) + Number(run));
  }
  return rows.map((row) => row.join(""));
}

describe("a QR code", () => {
  it("is square, with the finder in three corners only", () => {
    const rows = modules("otpauth://totp/Borealis:ada%40host?secret=ABCDEFGHIJKLMNOPABCDEFGHIJKLMNOP&issuer=Borealis");
    const finder = ["#######", "#     #", "# ### #", "# ### #", "# ### #", "#     #", "#######"];
    const corner = (x: number, y: number): string[] => rows.slice(y).slice(0, 7).map((row) => row.slice(x, x + 7));
    const far = rows.length - 7;
    expect(rows.every((row) => row.length === rows.length)).toBe(true);
    expect([corner(0, 0), corner(far, 0), corner(0, far)]).toEqual([finder, finder, finder]);
    expect(corner(far, far)).not.toEqual(finder);
  });

  it("differs with its text", () => {
    expect(modules("a")).not.toEqual(modules("b"));
  });
});
