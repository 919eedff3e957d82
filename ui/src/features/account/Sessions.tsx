import { Button, Switch } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { describe } from "../../api/errors";
import type { LiveSession } from "../../api/types";
import { holdsEverywhere, sessionCan } from "../../lib/can";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { notify } from "../../ui/notify";
import { Section } from "../../ui/Page";
import { ActionCell, NoteRow, Table } from "../../ui/Table";
import { sessionQuery } from "../session/queries";
import { sessionsQuery, useEndSession } from "./queries";
import { words } from "./words";

const HEAD = [words.from, words.begun, words.lastSeen, words.ends, ""];

export function Sessions() {
  const query = useQuery(sessionsQuery);
  const session = useQuery(sessionQuery).data;
  const [everyone, setEveryone] = useState(false);
  const shown = (query.data ?? []).filter((each) => everyone || each.operator === session?.operator);
  const whose = holdsEverywhere(session, "users.read") ? (
    <Switch
      size="xs"
      label={words.everyone}
      aria-label={`${words.sessions}: ${words.everyone}`}
      checked={everyone}
      onChange={(event) => setEveryone(event.currentTarget.checked)}
    />
  ) : undefined;
  return (
    <Section title={words.sessions} note={words.sessionsNote} actions={whose}>
      {query.isPending ? <Loading rows={2} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedSessions, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {query.data ? (
        <Table label={words.sessions} head={everyone ? [words.operator, ...HEAD] : HEAD}>
          {shown.map((each) => (
            <SessionRow
              key={each.id}
              live={each}
              named={everyone}
              mayEnd={sessionCan.end(each, session)}
            />
          ))}
        </Table>
      ) : null}
    </Section>
  );
}

function SessionRow({ live, named, mayEnd }: { live: LiveSession; named: boolean; mayEnd: boolean }) {
  const end = useEndSession();
  return (
    <>
      <tr>
        {named ? (
          <td>
            <strong>{live.username}</strong>
          </td>
        ) : null}
        <td>
          <span className="mono">{live.peer || "–"}</span> {live.current ? <strong>({words.here})</strong> : null}
        </td>
        <td>
          <Instant at={live.started_at} />
        </td>
        <td>
          <Instant at={live.last_seen_at} />
        </td>
        <td>
          <Instant at={live.expires_at} />
        </td>
        <ActionCell>
          {mayEnd ? (
            <Button
              size="compact-sm"
              variant="default"
              aria-label={words.endNamed(live.username, live.peer)}
              loading={end.isPending}
              onClick={() => end.mutate(live.id, { onSuccess: () => notify(words.ended) })}
            >
              {words.end}
            </Button>
          ) : null}
        </ActionCell>
      </tr>
      {end.error ? (
        <NoteRow columns={named ? HEAD.length + 1 : HEAD.length}>
          <ErrorPanel error={describe(words.failedEnd, end.error)} />
        </NoteRow>
      ) : null}
    </>
  );
}
