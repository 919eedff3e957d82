import { Anchor } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { fromBase64 } from "../../api/encoding";
import { describe, type ErrorText } from "../../api/errors";
import type { OutputWindow, Run, StreamName } from "../../api/types";
import { FINAL_STATES, markOf, RUN_MARKS } from "../../lib/states";
import { duration, NOTHING, size } from "../../lib/units";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Instant } from "../../ui/Instant";
import { OutputPane } from "../../ui/OutputPane";
import { StateMark } from "../../ui/StateMark";
import classes from "./Jobs.module.css";
import type { RunOutput } from "./output";
import { readRunOutput } from "./queries";
import { words } from "./words";

const WINDOW_BYTES = 1_048_576;

/** One run: its facts and both streams, apart. */
export function RunDetail({ run, output }: { run: Run; output: RunOutput | undefined }) {
  const ended = FINAL_STATES.has(run.state);
  const waiting = run.state === "queued" || run.state === "delivered";
  return (
    <section className={classes.detail} aria-label={words.output}>
      <div className={classes.runFacts} data-testid="run-facts">
        <Link to="/devices/$guid" params={{ guid: run.guid }} className={classes.jobLink}>
          {run.hostname}
        </Link>
        <span data-testid="run-state">
          <StateMark mark={markOf(RUN_MARKS, run.state)} />
        </span>
        <span>
          <span className="dim">{words.exitCode}</span> <strong data-testid="exit-code">{run.exit_code ?? NOTHING}</strong>
        </span>
        <span>
          <span className="dim">{words.duration}</span> <strong>{duration(run.duration_ms)}</strong>
        </span>
        <span>
          <span className="dim">{words.started}</span> <Instant at={run.started_at} />
        </span>
        {(run.attempt ?? 1) > 1 ? (
          <span>
            <span className="dim">{words.columns.attempt}</span> {run.attempt}
          </span>
        ) : null}
      </div>
      {run.reason ? (
        <p className={classes.reason}>
          <span className="dim">{words.reason}</span> {run.reason}
        </p>
      ) : null}
      {(["stdout", "stderr"] as const).map((stream) => (
        <Stream key={stream} run={run} stream={stream} output={output} ended={ended} waiting={waiting} />
      ))}
    </section>
  );
}

interface StreamProps {
  run: Run;
  stream: StreamName;
  output: RunOutput | undefined;
  ended: boolean;
  waiting: boolean;
}

function windowText(window: OutputWindow): string {
  return window.data ?? (window.data_base64 ? new TextDecoder().decode(fromBase64(window.data_base64)) : "");
}

function Stream({ run, stream, output, ended, waiting }: StreamProps) {
  const [start, setStart] = useState<OutputWindow | null>(null);
  const [error, setError] = useState<ErrorText | null>(null);
  const followed = output?.[stream];
  const bytes = stream === "stdout" ? run.stdout_bytes : run.stderr_bytes;
  const text = start ? windowText(start) : (followed?.text ?? "");
  const cut = run.truncated || output?.end?.truncated;

  const loadStart = async (): Promise<void> => {
    setError(null);
    try {
      setStart(await readRunOutput(run.run, stream, 0, WINDOW_BYTES));
    } catch (cause) {
      setError(describe(words.failedWhole, cause));
    }
  };

  const note = (
    <>
      {bytes ? size(bytes) : null}
      {cut ? ` · ${words.truncated}` : null}
      {followed?.cut && !start ? (
        <>
          {` · ${words.tailOnly} `}
          <Anchor component="button" type="button" size="sm" onClick={() => void loadStart()}>
            {words.loadWhole}
          </Anchor>
        </>
      ) : null}
      {start ? ` · 0 – ${size(WINDOW_BYTES)} of ${size(start.size_bytes)}` : null}
    </>
  );

  return (
    <>
      {error ? <ErrorPanel error={error} /> : null}
      <OutputPane
        name={stream}
        label={`${words.output} ${stream}`}
        text={text}
        note={note}
        live={!ended && !start}
        tone={stream === "stderr" && text !== "" ? "bad" : undefined}
        empty={ended ? words.noStdoutEnded : waiting ? words.waiting : words.noStdout}
      />
    </>
  );
}
