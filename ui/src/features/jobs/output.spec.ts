import { describe, expect, it } from "vitest";
import type { OutputLine } from "../../api/types";
import { applyAnswer, emptyOutput, lastLine, TAIL_LIMIT, type JobOutput } from "./output";

const base = { job: "j", run: "r", guid: "g", hostname: "h" };

function feed(lines: Partial<OutputLine>[], from: JobOutput = emptyOutput, cursor = "1", done = false): JobOutput {
  return applyAnswer(from, { lines: lines.map((line) => ({ ...base, ...line })), cursor, done });
}

describe("followed output", () => {
  it("keeps the streams apart and in order", () => {
    const { runs } = feed([
      { stream: "stdout", seq: 0, data: "one\n" },
      { stream: "stderr", seq: 0, data: "oops\n" },
      { stream: "stdout", seq: 1, data: "two\n" },
    ]);
    expect(runs.get("r")?.stdout.text).toBe("one\ntwo\n");
    expect(runs.get("r")?.stderr.text).toBe("oops\n");
    expect(lastLine(runs.get("r"))).toBe("two");
  });

  it("drops what comes twice, as after a resume from an older cursor", () => {
    const once = feed([{ stream: "stdout", seq: 0, data: "a" }]);
    const twice = feed([{ stream: "stdout", seq: 0, data: "a" }, { stream: "stdout", seq: 1, data: "b" }], once, "2");
    expect(twice.runs.get("r")?.stdout.text).toBe("ab");
  });

  it("keeps runs apart", () => {
    const { runs } = feed([
      { run: "a", stream: "stdout", seq: 0, data: "1" },
      { run: "b", stream: "stdout", seq: 0, data: "2" },
    ]);
    expect([...runs.values()].map((run) => run.stdout.text)).toEqual(["1", "2"]);
  });

  it("shows bytes that are no text as such", () => {
    const { runs } = feed([{ stream: "stdout", seq: 0, data_base64: btoa("ok\u00ff") }]);
    expect(runs.get("r")?.stdout.text).toBe("ok\ufffd");
  });

  it("lets the last line of a run repair what was missed", () => {
    const output = feed([
      { stream: "stdout", seq: 4, data: "late\n" },
      { final: true, state: "failed", exit_code: 3, stdout: "early\nlate\n", stderr_base64: btoa("bad"), duration_ms: 12 },
    ]);
    const run = output.runs.get("r");
    expect(run?.stdout.text).toBe("early\nlate\n");
    expect(run?.stderr.text).toBe("bad");
    expect(run?.end).toEqual({ state: "failed", exit_code: 3, duration_ms: 12, truncated: false, reason: null });
    expect(feed([{ stream: "stdout", seq: 5, data: "again" }], output).runs.get("r")?.stdout.text).toBe("early\nlate\n");
  });

  it("stays bounded however much is printed", () => {
    let output = emptyOutput;
    for (let seq = 0; seq < 5; seq += 1) {
      output = feed([{ stream: "stdout", seq, data: `${seq}`.repeat(TAIL_LIMIT / 2) }], output, String(seq));
    }
    const stdout = output.runs.get("r")?.stdout;
    expect(stdout?.text.length).toBe(TAIL_LIMIT);
    expect(stdout?.cut).toBe(true);
    expect(stdout?.text.endsWith("4")).toBe(true);
  });

  it("does not change when nothing came", () => {
    const output = feed([{ stream: "stdout", seq: 0, data: "a" }]);
    expect(applyAnswer(output, { lines: [], cursor: "1", done: false })).toBe(output);
    expect(applyAnswer(output, { lines: [], cursor: "1", done: true }).done).toBe(true);
  });
});
