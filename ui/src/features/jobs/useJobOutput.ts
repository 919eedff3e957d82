// Follows a job's output by long poll. The cursor resumes after every break: nothing is read twice, nothing is missed.

import { useEffect, useState } from "react";
import { ApiError, endsSession } from "../../api/errors";
import { applyAnswer, emptyOutput, type JobOutput } from "./output";
import { readOutput } from "./queries";

const BACKOFF_MS = [500, 1_000, 2_000, 5_000] as const;

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        resolve();
      },
      { once: true },
    );
  });
}

export interface FollowedOutput {
  output: JobOutput;
  /** Why nothing comes at the moment; cleared by the next answer. */
  error: unknown;
}

export function useJobOutput(job: string): FollowedOutput {
  const [state, setState] = useState<FollowedOutput & { job: string }>({ job, output: emptyOutput, error: null });

  useEffect(() => {
    const stop = new AbortController();
    const { signal } = stop;
    const follow = async (): Promise<void> => {
      let cursor = emptyOutput.cursor;
      let failures = 0;
      while (!signal.aborted) {
        try {
          const answer = await readOutput(job, cursor, signal);
          if (signal.aborted) return;
          const empty = answer.lines.length === 0;
          // An answer that comes at once and says nothing must not become a busy loop.
          if (empty && answer.cursor === cursor && !answer.done) await pause(250, signal);
          cursor = answer.cursor ?? cursor;
          failures = 0;
          setState((before) => ({
            job,
            output: applyAnswer(before.job === job ? before.output : emptyOutput, answer),
            error: null,
          }));
          if (answer.done) return;
        } catch (error) {
          if (signal.aborted || endsSession(error)) return;
          setState((before) => ({ job, output: before.job === job ? before.output : emptyOutput, error }));
          if (error instanceof ApiError && error.status >= 400 && error.status < 500 && error.retry === "never") return;
          await pause(BACKOFF_MS[Math.min(failures, BACKOFF_MS.length - 1)] ?? 5_000, signal);
          failures += 1;
        }
      }
    };
    void follow();
    return () => stop.abort();
  }, [job]);

  return state.job === job ? state : { output: emptyOutput, error: null };
}
