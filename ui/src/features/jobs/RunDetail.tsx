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

/** The most that the server gives at once. */
const WINDOW_BYTES = 131_072;

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
          <span className="dim">{words.reason}</span> {run.reason} {run.code ? <code>{run.code}</code> : null}
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

interface PartsProps {
  part: OutputWindow;
  onPart: (offset: number) => void;
  onEnd: () => void;
}

/** Pages through the whole output by parts; long logs are never loaded whole. */
function Parts({ part, onPart, onEnd }: PartsProps) {
  const end = Math.min(part.offset + WINDOW_BYTES, part.size_bytes);
  return (
    <span className={classes.parts}>
      {words.part(size(part.offset), size(end), size(part.size_bytes))}
      {part.offset > 0 ? (
        <Anchor
          component="button"
          type="button"
          size="sm"
          onClick={() => onPart(Math.max(0, part.offset - WINDOW_BYTES))}
        >
          {words.earlier}
        </Anchor>
      ) : null}
      {end < part.size_bytes ? (
        <Anchor component="button" type="button" size="sm" onClick={() => onPart(end)}>
          {words.later}
        </Anchor>
      ) : null}
      <Anchor component="button" type="button" size="sm" onClick={onEnd}>
        {words.backToEnd}
      </Anchor>
    </span>
  );
}

function windowText(window: OutputWindow): string {
  return window.data ?? (window.data_base64 ? new TextDecoder().decode(fromBase64(window.data_base64)) : "");
}

function Stream({ run, stream, output, ended, waiting }: StreamProps) {
  const [part, setPart] = useState<OutputWindow | null>(null);
  const [error, setError] = useState<ErrorText | null>(null);
  const followed = output?.[stream];
  const bytes = stream === "stdout" ? run.stdout_bytes : run.stderr_bytes;
  const text = part ? windowText(part) : (followed?.text ?? "");
  const cut = run.truncated || output?.end?.truncated;

  const load = async (offset: number): Promise<void> => {
    setError(null);
    try {
      setPart(await readRunOutput(run.run, stream, offset, WINDOW_BYTES));
    } catch (cause) {
      setError(describe(words.failedWhole, cause));
    }
  };

  const note = (
    <>
      {bytes ? size(bytes) : null}
      {cut ? ` · ${words.truncated}` : null}
      {followed?.cut && !part ? (
        <>
          {` · ${words.tailOnly} `}
          <Anchor component="button" type="button" size="sm" onClick={() => void load(0)}>
            {words.loadWhole}
          </Anchor>
        </>
      ) : null}
      {part ? <Parts part={part} onPart={(offset) => void load(offset)} onEnd={() => setPart(null)} /> : null}
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
        live={!ended && !part}
        tone={stream === "stderr" && text !== "" ? "bad" : undefined}
        empty={ended ? (run.started_at ? words.noStdoutEnded : words.neverStarted) : waiting ? words.waiting : words.noStdout}
      />
    </>
  );
}
