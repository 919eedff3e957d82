import { Button } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState, type ReactNode } from "react";
import { describe } from "../../api/errors";
import type { Schedule, ScheduleHistory } from "../../api/types";
import { refusal, scheduleCan } from "../../lib/can";
import { markOf, SCHEDULE_MARKS } from "../../lib/states";
import { absolute } from "../../lib/time";
import { count, duration, plural } from "../../lib/units";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import formClasses from "../../ui/Form.module.css";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { notify } from "../../ui/notify";
import { Page, Section } from "../../ui/Page";
import { StateMark } from "../../ui/StateMark";
import { Table, TextCell } from "../../ui/Table";
import { jobText } from "../jobs/jobText";
import { sessionQuery } from "../session/queries";
import { Firings } from "./Firings";
import { historyQuery, scheduleQuery, useChangeSchedule, type ScheduleChange } from "./queries";
import { RunNowDialog } from "./RunNowDialog";
import { followsText, ruleOfSchedule } from "./scheduleForm";
import classes from "./Schedules.module.css";
import { CONCURRENCY_LABELS, MISFIRE_LABELS, words } from "./words";

const route = getRouteApi("/app/schedules/$schedule");

export function SchedulePage() {
  const { schedule: id } = route.useParams();
  const query = useQuery(scheduleQuery(id));
  const schedule = query.data;
  return (
    <Page
      title={schedule?.name ?? words.title}
      note={schedule ? <StateMark mark={markOf(SCHEDULE_MARKS, schedule.state)} /> : undefined}
      actions={schedule ? <Actions schedule={schedule} /> : undefined}
    >
      {query.isPending ? <Loading rows={8} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedOne, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {schedule ? (
        <div className={classes.split}>
          <div className={classes.form}>
            <Facts schedule={schedule} />
            <History id={id} />
          </div>
          {schedule.state === "archived" || schedule.state === "ended" ? null : (
            <Firings
              rule={ruleOfSchedule(schedule)}
              hint={hintOf(schedule)}
              skips={schedule.skips}
            />
          )}
        </div>
      ) : null}
    </Page>
  );
}

function hintOf(schedule: Schedule): string {
  if (schedule.state === "paused" || schedule.state === "stopped") return words.heldHint;
  return schedule.delay_ms > 0 ? words.delay(duration(schedule.delay_ms)) : words.nextHint;
}

function Actions({ schedule }: { schedule: Schedule }) {
  const session = useQuery(sessionQuery).data;
  const change = useChangeSchedule(schedule.schedule);
  const [dialog, setDialog] = useState<"run" | "archive" | null>(null);
  const mayRun = refusal(session, "jobs.run");
  const mayStop = refusal(session, "jobs.cancel");
  const act = (what: ScheduleChange): void =>
    change.mutate(what, {
      onSuccess: () => {
        notify(words.changed[what]);
        setDialog(null);
      },
    });
  const button = (what: ScheduleChange, why: string | undefined): ReactNode => (
    <Button
      key={what}
      variant="default"
      disabled={why !== undefined}
      title={why}
      loading={change.isPending && change.variables === what}
      onClick={() => (what === "archive" ? setDialog("archive") : act(what))}
    >
      {words[what]}
    </Button>
  );
  return (
    <>
      {change.error ? <span role="alert">{describe(words.failedChange, change.error).why}</span> : null}
      {scheduleCan.archive(schedule) ? button("archive", mayStop) : null}
      {scheduleCan.skip(schedule) ? button("skip", mayStop) : null}
      {scheduleCan.pause(schedule) ? button("pause", mayStop) : null}
      {scheduleCan.resume(schedule) ? button("resume", mayRun) : null}
      {scheduleCan.run(schedule) ? (
        <Button
          leftSection={<Icon name="player-play" />}
          disabled={mayRun !== undefined}
          title={mayRun}
          onClick={() => setDialog("run")}
        >
          {words.runNow}
        </Button>
      ) : null}
      {dialog === "run" ? <RunNowDialog schedule={schedule} onClose={() => setDialog(null)} /> : null}
      {dialog === "archive" ? (
        <Dialog title={words.archiveTitle(schedule.name)} onClose={() => setDialog(null)}>
          <div className={formClasses.form}>
            <p>{words.archiveText}</p>
            <div className={formClasses.buttons}>
              <Button variant="default" onClick={() => setDialog(null)}>
                {words.cancel}
              </Button>
              <Button color="red.9" loading={change.isPending} onClick={() => act("archive")}>
                {words.archive}
              </Button>
            </div>
          </div>
        </Dialog>
      ) : null}
    </>
  );
}

function lateText(schedule: Schedule): string {
  const policy =
    schedule.misfire === "all" ? words.newest(count(schedule.misfire_most)) : (MISFIRE_LABELS[schedule.misfire] ?? schedule.misfire);
  return schedule.late_limit_ms === null ? policy : `${policy}; ${words.lateLimit(duration(schedule.late_limit_ms))}`;
}

function Facts({ schedule }: { schedule: Schedule }) {
  const rows: [string, ReactNode][] = [
    [words.follows, <span key="f"><span className="mono">{followsText(schedule.follows)}</span> in {schedule.zone}</span>],
    [words.columns.next, schedule.next_local ? <span key="n">{schedule.next_local} (<Instant at={schedule.next_at} />)</span> : words.never],
    [words.what, jobText(schedule)],
    [words.devices, schedule.guids.length === 0 ? words.liveDevices : plural(schedule.guids.length, "device", "devices")],
    [words.runs, words.ranCount(count(schedule.fired), count(schedule.not_run))],
    [words.misfire, lateText(schedule)],
    [words.concurrency, CONCURRENCY_LABELS[schedule.concurrency] ?? schedule.concurrency],
    [words.author, <span key="a">{schedule.created_by}, <Instant at={schedule.created_at} /></span>],
  ];
  if (schedule.reason) rows.unshift([words.reason, schedule.reason]);
  if (schedule.end) rows.push([words.end, absolute(schedule.end, schedule.zone)]);
  if (schedule.queued) rows.push([words.waits, <span key="q"><Instant at={schedule.queued} /> {words.waitsFor}</span>]);
  if (schedule.skips.length > 0) rows.push([words.skips, schedule.skips.map((at) => absolute(at, schedule.zone)).join(", ")]);
  return (
    <dl className={formClasses.facts} data-testid="schedule-facts">
      {rows.map(([name, value]) => (
        <div key={name} className={classes.fact}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

const HISTORY_HEAD = [words.at, words.event, words.due, words.why, words.job];

function History({ id }: { id: string }) {
  const query = useInfiniteQuery(historyQuery(id));
  const lines = (query.data?.pages ?? []).flatMap((page) => page.items);
  return (
    <Section title={words.history}>
      {query.isPending ? <Loading rows={4} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedHistory, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {query.isSuccess && lines.length === 0 ? <p className="dim">{words.noHistory}</p> : null}
      {lines.length > 0 ? (
        <Table label={words.history} head={HISTORY_HEAD}>
          {lines.map((line) => (
            <HistoryLine key={`${line.at} ${line.what} ${line.due} ${line.reason} ${line.job}`} line={line} />
          ))}
        </Table>
      ) : null}
      {query.hasNextPage ? (
        <Button variant="default" loading={query.isFetchingNextPage} onClick={() => void query.fetchNextPage()}>
          {words.more}
        </Button>
      ) : null}
    </Section>
  );
}

function HistoryLine({ line }: { line: ScheduleHistory }) {
  const reason = line.reason ? (words.reasons[line.reason] ?? line.reason) : null;
  return (
    <tr>
      <td>
        <Instant at={line.at} />
      </td>
      <td>
        {words.whats[line.what] ?? line.what}
        {line.by ? ` by ${line.by}` : ""}
        {line.count > 1 ? `, ${words.of(count(line.count))}` : ""}
      </td>
      <td>{line.due ? <Instant at={line.due} /> : words.never}</td>
      <TextCell>
        {[reason, line.note].filter(Boolean).join(": ") || words.never}
        {line.code ? (
          <>
            {" "}
            <code>{line.code}</code>
          </>
        ) : null}
      </TextCell>
      <td>
        {line.job ? (
          <Link to="/jobs/$job" params={{ job: line.job }} className="mono">
            {line.job.slice(0, 8)}
          </Link>
        ) : (
          words.never
        )}
        {line.devices === null ? "" : ` ${words.on(plural(line.devices, "device", "devices"))}`}
      </td>
    </tr>
  );
}
