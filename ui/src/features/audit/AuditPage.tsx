import { Button } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { describe } from "../../api/errors";
import type { AuditEntry } from "../../api/types";
import { useRows } from "../../api/useRows";
import { refusalEverywhere } from "../../lib/can";
import { outcomeMark } from "../../lib/states";
import { absolute, hover, zoneName } from "../../lib/time";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Grid, type GridColumn } from "../../ui/Grid";
import { Icon } from "../../ui/Icon";
import { Loading } from "../../ui/Loading";
import { Page } from "../../ui/Page";
import { StateMark } from "../../ui/StateMark";
import { sessionQuery } from "../session/queries";
import classes from "./Audit.module.css";
import { ExportDialog } from "./ExportDialog";
import { clean, isEmpty, type AuditFilter } from "./filter";
import { FilterBar } from "./FilterBar";
import { auditQuery } from "./queries";
import { entryId, who } from "./record";
import { RecordDialog } from "./RecordDialog";
import { VerifyDialog } from "./VerifyDialog";
import { words } from "./words";

const route = getRouteApi("/app/audit");

const COLUMNS: GridColumn<AuditEntry>[] = [
  {
    id: "at",
    header: words.columns.at,
    width: "176px",
    cell: (entry) => (
      <time dateTime={entry.at} title={hover(entry.at)}>
        {absolute(entry.at)}
      </time>
    ),
  },
  { id: "who", header: words.columns.who, width: "minmax(110px, 1fr)", cell: (entry) => who(entry.actor) },
  { id: "action", header: words.columns.action, width: "minmax(150px, 1.3fr)", cell: (entry) => entry.verb },
  {
    id: "object",
    header: words.columns.object,
    width: "minmax(150px, 1.6fr)",
    cell: (entry) => <span className="mono">{entry.objects[0] ?? "–"}</span>,
  },
  {
    id: "outcome",
    header: words.columns.outcome,
    width: "minmax(176px, 1fr)",
    cell: (entry) => (
      <>
        <StateMark mark={outcomeMark(entry.outcome)} />
        {entry.more > 0 ? <span className="dim"> {words.more(entry.more)}</span> : null}
      </>
    ),
  },
  { id: "address", header: words.address, width: "minmax(110px, 0.8fr)", cell: (entry) => entry.address ?? "–" },
  { id: "service", header: words.columns.service, width: "96px", cell: (entry) => entry.service },
];

export function AuditPage() {
  const filter = route.useSearch();
  const navigate = useNavigate();
  const session = useQuery(sessionQuery).data;
  const [opened, setOpened] = useState<AuditEntry | null>(null);
  const [dialog, setDialog] = useState<"verify" | "export" | null>(null);
  const why = refusalEverywhere(session, "audit.read");

  const query = useInfiniteQuery({
    ...auditQuery(filter),
    enabled: why === undefined,
    placeholderData: (previous) => previous,
  });
  const { data, isFetchingNextPage } = query;
  const { rows, more } = useRows(query, entryId);
  const missing = data?.pages.at(-1)?.missing ?? [];
  const look = (next: AuditFilter): void => void navigate({ to: "/audit", search: clean(next), replace: true });

  const actions = (
    <>
      <Button
        variant="default"
        leftSection={<Icon name="refresh" />}
        loading={query.isRefetching && !isFetchingNextPage}
        onClick={() => void query.refetch()}
      >
        {words.refresh}
      </Button>
      <Button variant="default" leftSection={<Icon name="shield-check" />} onClick={() => setDialog("verify")}>
        {words.verify}
      </Button>
      <Button variant="default" leftSection={<Icon name="download" />} onClick={() => setDialog("export")}>
        {words.exportIt}
      </Button>
    </>
  );
  if (why) {
    return (
      <Page title={words.title}>
        <EmptyState title={words.failed}>{why}</EmptyState>
      </Page>
    );
  }
  return (
    <Page title={words.title} fill note={words.note(zoneName())} actions={actions}>
      <FilterBar filter={filter} onChange={look} />
      {missing.length > 0 ? (
        <p className={classes.missing} role="status">
          {words.missing(missing)}
        </p>
      ) : null}
      {query.isPending ? <Loading rows={12} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failed, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {data ? (
        <Grid
          label={words.title}
          columns={COLUMNS}
          rows={rows}
          rowId={entryId}
          rowName={(entry) => `${entry.verb}, ${who(entry.actor)}, ${outcomeMark(entry.outcome).label}`}
          onOpen={setOpened}
          onEnd={more}
          dimmed={query.isPlaceholderData}
          empty={
            <EmptyState
              title={words.none}
              action={
                isEmpty(filter) ? undefined : (
                  <Button variant="default" onClick={() => look({})}>
                    {words.clear}
                  </Button>
                )
              }
            >
              {words.noneText}
            </EmptyState>
          }
        />
      ) : null}
      {opened ? (
        <RecordDialog
          entry={opened}
          onOnly={(only) => {
            setOpened(null);
            look({ ...filter, ...only });
          }}
          onClose={() => setOpened(null)}
        />
      ) : null}
      {dialog === "verify" ? <VerifyDialog onClose={() => setDialog(null)} /> : null}
      {dialog === "export" ? <ExportDialog filter={filter} onClose={() => setDialog(null)} /> : null}
    </Page>
  );
}
