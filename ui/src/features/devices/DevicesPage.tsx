import { Button, CloseButton, TextInput } from "@mantine/core";
import { useDebouncedValue, useHotkeys } from "@mantine/hooks";
import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useEffect, useMemo, useRef, useState } from "react";
import { describe } from "../../api/errors";
import type { Device } from "../../api/types";
import { useRows } from "../../api/useRows";
import { DEVICE_STATUS_MARKS, markOf, PRESENCE_MARKS } from "../../lib/states";
import { zoneName } from "../../lib/time";
import { systemOf } from "../../lib/system";
import { count, NOTHING } from "../../lib/units";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Grid, type GridColumn } from "../../ui/Grid";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { Page } from "../../ui/Page";
import { StateMark } from "../../ui/StateMark";
import { useLive } from "../shell/live";
import classes from "./Devices.module.css";
import { devicesQuery } from "./queries";
import { searchFor } from "./selection";
import { words } from "./words";

const route = getRouteApi("/app/devices");

function guidOf(device: Device): string {
  return device.guid;
}

function seconds(at: string | null): number | null {
  return at ? Date.parse(at) : null;
}

function columnsOf(sortable: boolean): GridColumn<Device>[] {
  const by = (sortBy: (device: Device) => string | number | null) => (sortable ? { sortBy } : {});
  return [
    {
      id: "hostname",
      header: words.columns.hostname,
      width: "minmax(180px, 2fr)",
      cell: (device) => (
        <Link to="/devices/$guid" params={{ guid: device.guid }} className={classes.host} tabIndex={-1}>
          {device.hostname}
        </Link>
      ),
      ...by((device) => device.hostname),
    },
    {
      id: "presence",
      header: words.columns.presence,
      width: "104px",
      cell: (device) => <StateMark mark={markOf(PRESENCE_MARKS, device.presence)} />,
      ...by((device) => device.presence),
    },
    {
      id: "status",
      header: words.columns.status,
      width: "130px",
      cell: (device) => <StateMark mark={markOf(DEVICE_STATUS_MARKS, device.status)} />,
      ...by((device) => device.status),
    },
    {
      id: "site",
      header: words.columns.site,
      width: "minmax(90px, 1fr)",
      cell: (device) => device.site,
      ...by((device) => device.site),
    },
    {
      id: "tags",
      header: words.columns.tags,
      width: "minmax(90px, 1fr)",
      cell: (device) => device.tags.join(" ") || NOTHING,
      ...by((device) => device.tags.join(" ")),
    },
    {
      id: "os",
      header: words.columns.os,
      width: "minmax(180px, 1.5fr)",
      cell: systemOf,
      ...by(systemOf),
    },
    {
      id: "agent",
      header: words.columns.agent,
      width: "100px",
      cell: (device) => device.agent_version ?? NOTHING,
      ...by((device) => device.agent_version),
    },
    {
      id: "seen",
      header: words.columns.seen,
      width: "140px",
      cell: (device) => <Instant at={device.last_seen_at} />,
      ...by((device) => seconds(device.last_seen_at)),
    },
  ];
}

export function DevicesPage() {
  const search = route.useSearch();
  const navigate = useNavigate();
  const [filter, setFilter] = useState(search.q ?? "");
  const [debounced] = useDebouncedValue(filter.trim(), 150);
  const input = useRef<HTMLInputElement>(null);
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const { status } = useLive();

  useHotkeys([["/", () => input.current?.focus()]]);
  useEffect(() => {
    if ((search.q ?? "") !== debounced) {
      void navigate({ to: "/devices", search: debounced ? { q: debounced } : {}, replace: true });
    }
  }, [debounced, navigate, search.q]);

  const query = useInfiniteQuery({ ...devicesQuery(debounced), placeholderData: (previous) => previous });
  const { data, hasNextPage } = query;
  const { rows, more } = useRows(query, guidOf);
  const total = data?.pages.at(-1)?.total ?? rows.length;
  const columns = useMemo(() => columnsOf(!hasNextPage), [hasNextPage]);

  const selectAll = async (): Promise<void> => {
    let all = rows.map((row) => row.guid);
    let result = query;
    while (result.hasNextPage) {
      result = (await result.fetchNextPage()) as typeof query;
      all = (result.data?.pages ?? []).flatMap((page) => page.items).map((row) => row.guid);
    }
    setSelected(new Set(all));
  };

  const run = (): void => void navigate({ to: "/run", search: searchFor([...selected]) });
  useHotkeys([["r", () => (selected.size > 0 ? run() : undefined)]]);

  return (
    <Page
      title={words.title}
      fill
      note={query.isSuccess ? `${count(total)} · ${words.columns.seen.toLowerCase()} in ${zoneName()}` : undefined}
      actions={
        <TextInput
          ref={input}
          size="xs"
          className={classes.filter}
          aria-label={words.filter}
          placeholder={words.filterHint}
          leftSection={<Icon name="filter" size={14} />}
          rightSection={
            filter ? <CloseButton size="sm" aria-label={words.clear} onClick={() => setFilter("")} /> : <kbd>/</kbd>
          }
          value={filter}
          onChange={(event) => setFilter(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Escape") setFilter("");
          }}
        />
      }
    >
      {selected.size > 0 ? (
        <div className={classes.bulk} role="region" aria-label={words.selected(count(selected.size))}>
          <strong aria-live="polite">{words.selected(count(selected.size))}</strong>
          {selected.size < total ? (
            <Button size="compact-sm" variant="subtle" onClick={() => void selectAll()}>
              {words.selectAll(count(total))}
            </Button>
          ) : null}
          <Button size="compact-sm" variant="subtle" color="gray" onClick={() => setSelected(new Set())}>
            {words.clearSelection}
          </Button>
          <Button
            size="compact-md"
            className={classes.bulkRun}
            leftSection={<Icon name="player-play" />}
            onClick={run}
          >
            {words.runOn(count(selected.size))}
          </Button>
        </div>
      ) : null}
      {query.isPending ? <Loading rows={10} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failed, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {data ? (
        <Grid
          label={words.title}
          columns={columns}
          rows={rows}
          rowId={guidOf}
          rowName={(device) => device.hostname}
          total={total}
          selected={selected}
          onSelect={setSelected}
          onOpen={(device) => void navigate({ to: "/devices/$guid", params: { guid: device.guid } })}
          onEnd={more}
          dimmed={query.isPlaceholderData || status.kind === "paused"}
          empty={
            debounced ? (
              <EmptyState
                title={words.nothingMatches}
                action={
                  <Button variant="default" onClick={() => setFilter("")}>
                    {words.clear}
                  </Button>
                }
              >
                {words.nothingMatchesText(debounced)}
              </EmptyState>
            ) : (
              <EmptyState
                title={words.nothingYet}
                action={
                  <Button renderRoot={(props) => <Link to="/enrolment" {...props} />}>{words.toEnrolment}</Button>
                }
              >
                {words.nothingYetText}
              </EmptyState>
            )
          }
        />
      ) : null}
    </Page>
  );
}
