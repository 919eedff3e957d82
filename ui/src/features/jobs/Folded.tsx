// What the runs of a job printed, those that ended alike and printed the same as one line.

import { useInfiniteQuery } from "@tanstack/react-query";
import { describe } from "../../api/errors";
import type { OutputGroup } from "../../api/types";
import { useRows } from "../../api/useRows";
import { markOf, RUN_MARKS } from "../../lib/states";
import { count, NOTHING, plural, size } from "../../lib/units";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Grid, type GridColumn } from "../../ui/Grid";
import { Loading } from "../../ui/Loading";
import { StateMark } from "../../ui/StateMark";
import classes from "./Jobs.module.css";
import { outputsQuery } from "./queries";
import { words } from "./words";

const COLUMNS: GridColumn<OutputGroup>[] = [
  {
    id: "runs",
    header: words.groupColumns.runs,
    width: "72px",
    align: "end",
    cell: (group) => <strong>{count(group.runs)}</strong>,
  },
  {
    id: "state",
    header: words.columns.state,
    width: "124px",
    cell: (group) => <StateMark mark={markOf(RUN_MARKS, group.state)} hint={group.code ?? undefined} />,
  },
  {
    id: "exit",
    header: words.columns.exit,
    width: "84px",
    align: "end",
    cell: (group) => group.exit_code ?? NOTHING,
  },
  { id: "stdout", header: words.stdout, width: "80px", align: "end", cell: (group) => size(group.stdout_bytes) },
  { id: "stderr", header: words.stderr, width: "80px", align: "end", cell: (group) => size(group.stderr_bytes) },
  {
    id: "hosts",
    header: words.groupColumns.hosts,
    width: "minmax(140px, 1fr)",
    cell: (group) => {
      const others = group.runs - group.hostnames.length;
      return `${group.hostnames.join(", ")}${others > 0 ? words.andMore(count(others)) : ""}`;
    },
  },
];

function idOf(group: OutputGroup): string {
  return group.run;
}

interface FoldedProps {
  job: string;
  current: string | null;
  onOpen: (run: string) => void;
}

export function Folded({ job, current, onOpen }: FoldedProps) {
  const query = useInfiniteQuery(outputsQuery(job));
  const { rows, more } = useRows(query, idOf);
  const last = query.data?.pages.at(-1);
  const notes = [
    last && last.open > 0 ? words.openRuns(plural(last.open, "run", "runs")) : null,
    last && last.pending > 0 ? words.digesting(plural(last.pending, "run", "runs")) : null,
    last && last.unreadable > 0 ? words.unreadableOutputs(plural(last.unreadable, "run", "runs")) : null,
  ].filter((note) => note !== null);
  return (
    <div className={classes.folded}>
      {query.isPending ? <Loading rows={4} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedFolded, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {notes.length > 0 ? <p className="dim">{notes.join(", ")}</p> : null}
      {query.data ? (
        <Grid
          label={words.groups}
          columns={COLUMNS}
          rows={rows}
          rowId={idOf}
          rowName={(group) => `${plural(group.runs, "run", "runs")}, ${markOf(RUN_MARKS, group.state).label}`}
          total={last?.groups_total}
          current={current}
          onOpen={(group) => onOpen(group.run)}
          onEnd={more}
          empty={<EmptyState title={words.noGroups} />}
        />
      ) : null}
    </div>
  );
}
