import { describe, expect, it } from "vitest";
import { parseTags, tagChange } from "./tags";

describe("tags", () => {
  it("are words between blanks or commas, each once", () => {
    expect(parseTags("  Web, prod\tweb ")).toEqual(["prod", "web"]);
    expect(parseTags("  ")).toEqual([]);
  });

  it("are changed by what is missing and what is too much", () => {
    expect(tagChange(["db", "prod"], ["prod", "web"])).toEqual({ add: ["web"], remove: ["db"] });
    expect(tagChange(["db"], ["db"])).toEqual({ add: [], remove: [] });
  });
});
