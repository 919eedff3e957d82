// The run view's picture of followed output: pure, fed line by line, bounded however much a script prints.

import { fromBase64 } from "../../api/encoding";
import type { OutputAnswer, OutputLine, RunState, StreamName } from "../../api/types";

/** Kept in the page per run and stream. The whole output stays with the server. */
export const TAIL_LIMIT = 1_048_576;
/** Kept once a job has many runs. */
export const SMALL_TAIL_LIMIT = 16_384;
const MANY_RUNS = 40;

export interface StreamText {
  text: string;
  /** The sequence number of the newest chunk; repeats are dropped by it. */
  seq: number;
  /** Older text was dropped here. */
  cut: boolean;
}

export interface RunOutput {
  run: string;
  guid: string;
  hostname: string;
  stdout: StreamText;
  stderr: StreamText;
  /** What the last line of the run told, once it came. */
  end: { state: RunState; exit_code: number | null; duration_ms: number | null; truncated: boolean; reason: string | null } | null;
}

export interface JobOutput {
  runs: ReadonlyMap<string, RunOutput>;
  cursor: OutputAnswer["cursor"];
  done: boolean;
}

export const emptyOutput: JobOutput = { runs: new Map(), cursor: null, done: false };

const emptyStream: StreamText = { text: "", seq: -1, cut: false };

/** Decodes what is not UTF-8 for show: bytes that are no text become U+FFFD. */
function textOf(data: string | undefined, base64: string | undefined): string | null {
  if (data !== undefined && data !== null) return data;
  if (base64 === undefined || base64 === null) return null;
  try {
    return new TextDecoder().decode(fromBase64(base64));
  } catch {
    return "\ufffd";
  }
}

function tail(text: string, cut: boolean, limit: number): { text: string; cut: boolean } {
  return text.length > limit ? { text: text.slice(-limit), cut: true } : { text, cut };
}

function appendChunk(stream: StreamText, line: OutputLine, limit: number): StreamText {
  const seq = line.seq ?? stream.seq + 1;
  if (seq <= stream.seq) return stream;
  const text = textOf(line.data, line.data_base64) ?? "";
  return { seq, ...tail(stream.text + text, stream.cut, limit) };
}

/** The last line carries the whole output: it repairs whatever was missed on the way. */
function whole(stream: StreamText, data: string | undefined, base64: string | undefined, limit: number): StreamText {
  const text = textOf(data, base64);
  if (text === null) return stream;
  return { seq: Number.MAX_SAFE_INTEGER, ...tail(text, false, limit) };
}

function applyLine(output: RunOutput, line: OutputLine, limit: number): RunOutput {
  if (line.final) {
    return {
      ...output,
      stdout: whole(output.stdout, line.stdout, line.stdout_base64, limit),
      stderr: whole(output.stderr, line.stderr, line.stderr_base64, limit),
      end: {
        state: line.state ?? "failed",
        exit_code: line.exit_code ?? null,
        duration_ms: line.duration_ms ?? null,
        truncated: line.truncated ?? false,
        reason: line.reason ?? null,
      },
    };
  }
  const stream: StreamName = line.stream === "stderr" ? "stderr" : "stdout";
  return { ...output, [stream]: appendChunk(output[stream], line, limit) };
}

/** Takes one answer of the long poll. */
export function applyAnswer(output: JobOutput, answer: OutputAnswer): JobOutput {
  if (answer.lines.length === 0 && answer.cursor === output.cursor && answer.done === output.done) return output;
  const runs = new Map(output.runs);
  for (const line of answer.lines) {
    const before = runs.get(line.run) ?? {
      run: line.run,
      guid: line.guid,
      hostname: line.hostname,
      stdout: emptyStream,
      stderr: emptyStream,
      end: null,
    };
    runs.set(line.run, applyLine(before, line, runs.size > MANY_RUNS ? SMALL_TAIL_LIMIT : TAIL_LIMIT));
  }
  return { runs, cursor: answer.cursor ?? output.cursor, done: answer.done };
}

/** The newest line of a run that says something. */
export function lastLine(output: RunOutput | undefined): string {
  if (!output) return "";
  const text = output.stdout.text.trimEnd() || output.stderr.text.trimEnd();
  return text.slice(Math.max(text.lastIndexOf("\n") + 1, text.length - 300));
}
