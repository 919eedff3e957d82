import { Button } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { describe } from "../../api/errors";
import type { Schedule } from "../../api/types";
import { useRows } from "../../api/useRows";
import { refusal } from "../../lib/can";
import { markOf, SCHEDULE_MARKS } from "../../lib/states";
import { zoneName } from "../../lib/time";
import { count } from "../../lib/units";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Grid, type GridColumn } from "../../ui/Grid";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { Page } from "../../ui/Page";
import { StateMark } from "../../ui/StateMark";
import { sessionQuery } from "../session/queries";
import { schedulesQuery } from "./queries";
import { followsText } from "./scheduleForm";
import classes from "./Schedules.module.css";
import { words } from "./words";

const COLUMNS: GridColumn<Schedule>[] = [
  {
    id: "name",
    header: words.columns.name,
    width: "minmax(160px, 1.6fr)",
    cell: (schedule) => (
      <Link to="/schedules/$schedule" params={{ schedule: schedule.schedule }} className={classes.name} tabIndex={-1}>
        {schedule.name}
      </Link>
    ),
  },
  {
    id: "state",
    header: words.columns.state,
    width: "108px",
    cell: (schedule) => <StateMark mark={markOf(SCHEDULE_MARKS, schedule.state)} hint={schedule.reason ?? undefined} />,
  },
  {
    id: "follows",
    header: words.columns.follows,
    width: "minmax(140px, 1.2fr)",
    cell: (schedule) => (
      <>
        <span className="mono">{followsText(schedule.follows)}</span> <span className="dim">{schedule.zone}</span>
      </>
    ),
  },
  { id: "next", header: words.columns.next, width: "140px", cell: (schedule) => <Instant at={schedule.next_at} /> },
  { id: "last", header: words.columns.last, width: "140px", cell: (schedule) => <Instant at={schedule.last_at} /> },
  { id: "ran", header: words.columns.ran, width: "72px", align: "end", cell: (schedule) => count(schedule.fired) },
  { id: "not", header: words.columns.notRun, width: "104px", align: "end", cell: (schedule) => count(schedule.not_run) },
  { id: "by", header: words.columns.by, width: "minmax(90px, 0.7fr)", cell: (schedule) => schedule.created_by },
];

function idOf(schedule: Schedule): string {
  return schedule.schedule;
}

export function SchedulesPage() {
  const navigate = useNavigate();
  const session = useQuery(sessionQuery).data;
  const query = useInfiniteQuery(schedulesQuery);
  const { rows, more } = useRows(query, idOf);
  const why = refusal(session, "jobs.run");
  const make = (
    <Button
      leftSection={<Icon name="plus" />}
      disabled={why !== undefined}
      title={why}
      onClick={() => void navigate({ to: "/schedules/new" })}
    >
      {words.make}
    </Button>
  );
  return (
    <Page title={words.title} fill note={words.nextIn(zoneName())} actions={make}>
      {query.isPending ? <Loading rows={8} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedList, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {query.data ? (
        <Grid
          label={words.title}
          columns={COLUMNS}
          rows={rows}
          rowId={idOf}
          rowName={(schedule) => `${schedule.name}, ${markOf(SCHEDULE_MARKS, schedule.state).label}`}
          onOpen={(schedule) => void navigate({ to: "/schedules/$schedule", params: { schedule: schedule.schedule } })}
          onEnd={more}
          empty={<EmptyState title={words.none}>{words.noneText}</EmptyState>}
        />
      ) : null}
    </Page>
  );
}
