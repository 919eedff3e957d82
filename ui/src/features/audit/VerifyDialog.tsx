// Checks every log, one after the other, and says for each what came of it.

import { Button } from "@mantine/core";
import { useEffect, useState } from "react";
import { describe, type ErrorText } from "../../api/errors";
import type { Mark } from "../../lib/states";
import { count } from "../../lib/units";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import classes from "../../ui/Form.module.css";
import { Instant } from "../../ui/Instant";
import { Shown } from "../../ui/Shown";
import { StateMark } from "../../ui/StateMark";
import { NoteRow, Table } from "../../ui/Table";
import { LOGS, verifyLog, type Verified } from "./queries";
import { words } from "./words";

type Line = { at: "waiting" } | { at: "checking"; checked: number } | { at: "failed"; error: ErrorText } | { at: "done"; found: Verified };

const HEAD = [words.service, words.state, words.checked, words.vouched];

function markOfLine(line: Line): Mark {
  if (line.at === "waiting") return { label: words.waiting, tone: "idle", shape: "ring" };
  if (line.at === "checking") return { label: words.checking, tone: "busy", shape: "half" };
  if (line.at === "failed" || line.found.whole === null) return { label: words.unchecked, tone: "warn", shape: "clock" };
  return line.found.whole
    ? { label: words.whole, tone: "good", shape: "check" }
    : { label: words.broken, tone: "bad", shape: "cross" };
}

export function VerifyDialog({ onClose }: { onClose: () => void }) {
  const [round, setRound] = useState(0);
  return (
    <Dialog title={words.verifyTitle} size="lg" onClose={onClose}>
      <Round key={round} onAgain={() => setRound(round + 1)} onClose={onClose} />
    </Dialog>
  );
}

function Round({ onAgain, onClose }: { onAgain: () => void; onClose: () => void }) {
  const [lines, setLines] = useState<Readonly<Record<string, Line>>>({});

  useEffect(() => {
    const stop = new AbortController();
    const { signal } = stop;
    const put = (service: string, line: Line): void => setLines((all) => ({ ...all, [service]: line }));
    const run = async (): Promise<void> => {
      for (const service of LOGS) {
        put(service, { at: "checking", checked: 0 });
        try {
          // One at a time: each check reads a whole log.
          // oxlint-disable-next-line no-await-in-loop
          const found = await verifyLog(service, signal, (checked) => put(service, { at: "checking", checked }));
          put(service, { at: "done", found });
        } catch (cause) {
          if (signal.aborted) return;
          put(service, { at: "failed", error: describe(words.failedVerify, cause) });
        }
      }
    };
    void run();
    return () => stop.abort();
  }, []);

  const busy = LOGS.some((service) => ["waiting", "checking"].includes(lines[service]?.at ?? "waiting"));
  return (
    <div className={classes.form}>
      <p>{words.verifyLead}</p>
      <div aria-live="polite" aria-busy={busy}>
        <Table label={words.verifyTitle} head={HEAD}>
          {LOGS.map((service) => (
            <LogRow key={service} service={service} line={lines[service] ?? { at: "waiting" }} />
          ))}
        </Table>
      </div>
      <Shown
        label={words.verifyOffline}
        text={LOGS.map((service) => `borealis-server store ${service} verify`).join("\n")}
        copy={words.copyCommand}
      />
      <div className={classes.buttons}>
        <Button variant="default" onClick={onClose}>
          {words.close}
        </Button>
        <Button loading={busy} onClick={onAgain}>
          {words.verifyAgain}
        </Button>
      </div>
    </div>
  );
}

function LogRow({ service, line }: { service: string; line: Line }) {
  const found = line.at === "done" ? line.found : null;
  const checked = found?.checked ?? (line.at === "checking" ? line.checked : null);
  return (
    <>
      <tr>
        <td>
          <strong>{service}</strong>
        </td>
        <td>
          <StateMark mark={markOfLine(line)} />
        </td>
        <td>{checked === null ? "–" : count(checked)}</td>
        <td>
          {found?.countersigned ? (
            <>
              {words.vouchedUpTo(found.countersigned.position)} <Instant at={found.countersigned.at} />
            </>
          ) : found && !found.error ? (
            words.notVouched
          ) : (
            "–"
          )}
        </td>
      </tr>
      {found?.finding || found?.error ? (
        <NoteRow columns={HEAD.length}>
          {found.finding ? <strong>{words.finding(found.finding.position, found.finding.what)}</strong> : null}
          {found.error ? words.notCompared(found.error) : null}
        </NoteRow>
      ) : null}
      {line.at === "failed" ? (
        <NoteRow columns={HEAD.length}>
          <ErrorPanel error={line.error} />
        </NoteRow>
      ) : null}
    </>
  );
}
