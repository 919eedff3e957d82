import { describe, expect, it } from "vitest";
import { emptyMintForm, installCommands, readMintForm } from "./mintForm";

describe("the form for a code", () => {
  it("gives the contract's defaults", () => {
    expect(readMintForm(emptyMintForm)).toEqual({
      request: { site: "default", uses: 1, lifetime_ms: 86_400_000, auto_approve: false },
    });
  });

  it.each([
    [{ site: " " }, "site"],
    [{ site: "-x" }, "site"],
    [{ uses: "" }, "uses"],
    [{ uses: 0 }, "uses"],
    [{ uses: 1.5 }, "uses"],
    [{ uses: 10_001 }, "uses"],
  ])("refuses %j at the field", (change, field) => {
    const read = readMintForm({ ...emptyMintForm, ...change });
    expect(Object.keys("errors" in read ? read.errors : {})).toEqual([field]);
  });

  it("never puts the code into arguments", () => {
    const lines = installCommands("https://host:5000", "BRL1-SECRET").split("\n");
    expect(lines[0]).toBe(" export BOREALIS_INSTALLER_CODE='BRL1-SECRET'");
    expect(lines[1]).toBe("borealis-agent run --server-url 'https://host:5000' --root /opt/borealis");
  });

  it("stays text to a shell whatever the address holds", () => {
    const lines = installCommands("https://a';b", "BRL1-SECRET").split("\n");
    expect(lines[1]).toBe(String.raw`borealis-agent run --server-url 'https://a'\'';b' --root /opt/borealis`);
  });
});
