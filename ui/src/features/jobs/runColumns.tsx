import { Link } from "@tanstack/react-router";
import type { Run } from "../../api/types";
import { markOf, RUN_MARKS } from "../../lib/states";
import { duration, NOTHING } from "../../lib/units";
import type { GridColumn } from "../../ui/Grid";
import { Instant } from "../../ui/Instant";
import { StateMark } from "../../ui/StateMark";
import { words } from "./words";

/** The devices of a job that waits for approval: which they are, and nothing that has not happened yet. */
export const REVIEW_COLUMNS: GridColumn<Run>[] = [
  {
    id: "hostname",
    header: words.columns.hostname,
    width: "minmax(130px, 1fr)",
    cell: (run) => <strong>{run.hostname}</strong>,
    sortBy: (run) => run.hostname,
  },
  {
    id: "guid",
    header: words.guid,
    width: "minmax(270px, 1fr)",
    cell: (run) => <span className="mono">{run.guid}</span>,
    sortBy: (run) => run.guid,
  },
];

interface RunColumnsOptions {
  /** Shows the job instead of the device. */
  job?: boolean;
  lastLine?: (run: string) => string;
}

export function runColumns({ job = false, lastLine }: RunColumnsOptions): GridColumn<Run>[] {
  const columns: GridColumn<Run>[] = [
    job
      ? {
          id: "job",
          header: words.columns.job,
          width: "minmax(120px, 1fr)",
          cell: (run) => (
            <Link to="/jobs/$job" params={{ job: run.job }} search={{ run: run.run }} className="mono" tabIndex={-1}>
              {run.job.slice(0, 12)}
            </Link>
          ),
        }
      : {
          id: "hostname",
          header: words.columns.hostname,
          width: "minmax(130px, 1fr)",
          cell: (run) => <strong>{run.hostname}</strong>,
          sortBy: (run) => run.hostname,
        },
    {
      id: "state",
      header: words.columns.state,
      width: "124px",
      cell: (run) => <StateMark mark={markOf(RUN_MARKS, run.state)} hint={run.reason ?? undefined} />,
      sortBy: (run) => run.state,
    },
    {
      id: "exit",
      header: words.columns.exit,
      width: "84px",
      align: "end",
      cell: (run) => run.exit_code ?? NOTHING,
      sortBy: (run) => run.exit_code,
    },
    {
      id: "duration",
      header: words.columns.duration,
      width: "86px",
      align: "end",
      cell: (run) => duration(run.duration_ms),
      sortBy: (run) => run.duration_ms,
    },
  ];
  if (lastLine) {
    columns.push({
      id: "last",
      header: words.columns.last,
      width: "minmax(150px, 2fr)",
      cell: (run) => <span className="mono dim">{lastLine(run.run) || run.reason || ""}</span>,
    });
  } else {
    columns.push({
      id: "started",
      header: words.columns.started,
      width: "140px",
      cell: (run) => <Instant at={run.started_at ?? run.queued_at} />,
      sortBy: (run) => run.started_at ?? run.queued_at,
    });
  }
  return columns;
}
