import { Button, Switch, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import { describe } from "../../api/errors";
import type { AssemblyStanding } from "../../api/types";
import { useRows } from "../../api/useRows";
import { refusal } from "../../lib/can";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Grid, type GridColumn } from "../../ui/Grid";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { Page } from "../../ui/Page";
import { LANGUAGE_LABELS } from "../jobs/words";
import { sessionQuery } from "../session/queries";
import classes from "./Library.module.css";
import { assembliesQuery } from "./queries";
import { words } from "./words";

const route = getRouteApi("/app/library");
const TYPING_MS = 200;

const COLUMNS: GridColumn<AssemblyStanding>[] = [
  {
    id: "name",
    header: words.columns.name,
    width: "minmax(170px, 1.4fr)",
    cell: (each) => (
      <Link to="/library/$assembly" params={{ assembly: each.assembly }} className={classes.name} tabIndex={-1}>
        {each.name}
      </Link>
    ),
  },
  { id: "type", header: words.columns.type, width: "104px", cell: (each) => LANGUAGE_LABELS[each.type] ?? each.type },
  { id: "category", header: words.columns.category, width: "minmax(100px, 0.8fr)", cell: (each) => each.category || words.nothing },
  { id: "tags", header: words.columns.tags, width: "minmax(110px, 1fr)", cell: (each) => each.tags.join(", ") || words.nothing },
  {
    id: "version",
    header: words.columns.version,
    width: "120px",
    cell: (each) => (each.published === null ? words.draftOnly : words.publishedAs(each.published, each.latest)),
  },
  { id: "updated", header: words.columns.updated, width: "140px", cell: (each) => <Instant at={each.updated_at} /> },
  { id: "by", header: words.columns.by, width: "minmax(90px, 0.7fr)", cell: (each) => each.updated_by },
];

function idOf(each: AssemblyStanding): string {
  return each.assembly;
}

export function LibraryPage() {
  const search = route.useSearch();
  const navigate = useNavigate();
  const session = useQuery(sessionQuery).data;
  const [typed, setTyped] = useState(search.q ?? "");
  const [q] = useDebouncedValue(typed.trim(), TYPING_MS);
  const archived = search.archived ?? false;
  useEffect(() => {
    if ((search.q ?? "") !== q) void navigate({ to: "/library", search: { ...search, q: q || undefined }, replace: true });
  }, [q, search, navigate]);
  const query = useInfiniteQuery({ ...assembliesQuery(q, archived), placeholderData: (previous) => previous });
  const { rows, more } = useRows(query, idOf);
  const why = refusal(session, "library.write");
  return (
    <Page
      title={words.title}
      fill
      actions={
        <>
          <TextInput
            size="xs"
            className={classes.search}
            aria-label={words.search}
            placeholder={words.search}
            leftSection={<Icon name="search" size={14} />}
            value={typed}
            onChange={(event) => setTyped(event.currentTarget.value)}
          />
          <Switch
            label={words.showArchive}
            checked={archived}
            onChange={(event) =>
              void navigate({ to: "/library", search: { ...search, archived: event.currentTarget.checked || undefined }, replace: true })
            }
          />
          <Button
            leftSection={<Icon name="plus" />}
            disabled={why !== undefined}
            title={why}
            onClick={() => void navigate({ to: "/library/new" })}
          >
            {words.make}
          </Button>
        </>
      }
    >
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
          rowName={(each) => each.name}
          onOpen={(each) => void navigate({ to: "/library/$assembly", params: { assembly: each.assembly } })}
          onEnd={more}
          dimmed={query.isPlaceholderData}
          empty={
            q ? (
              <EmptyState
                title={words.nothingMatches}
                action={
                  <Button variant="default" onClick={() => setTyped("")}>
                    {words.clear}
                  </Button>
                }
              />
            ) : archived ? (
              <EmptyState title={words.noneArchived} />
            ) : (
              <EmptyState title={words.none}>{words.noneText}</EmptyState>
            )
          }
        />
      ) : null}
    </Page>
  );
}
