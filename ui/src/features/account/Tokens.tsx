import { Button, Switch } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { describe } from "../../api/errors";
import type { ApiToken } from "../../api/types";
import { holdsEverywhere, tokenCan } from "../../lib/can";
import { markOf, TOKEN_MARKS } from "../../lib/states";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { notify } from "../../ui/notify";
import { Section } from "../../ui/Page";
import { StateMark } from "../../ui/StateMark";
import { ActionCell, NoteRow, Table, TextCell } from "../../ui/Table";
import { RightList } from "../rights/RightList";
import { sessionQuery } from "../session/queries";
import { tokensQuery, useRevokeToken } from "./queries";
import { TokenDialog } from "./TokenDialog";
import { words } from "./words";

const HEAD = [words.name, words.state, words.rights, words.devices, words.made, words.ends, ""];

export function Tokens() {
  const query = useQuery(tokensQuery);
  const session = useQuery(sessionQuery).data;
  const [everyone, setEveryone] = useState(false);
  const [making, setMaking] = useState(false);
  const shown = (query.data ?? []).filter((each) => everyone || each.author === session?.operator).toReversed();
  const actions = (
    <>
      {holdsEverywhere(session, "users.read") ? (
        <Switch
          size="xs"
          label={words.everyone}
          aria-label={`${words.tokens}: ${words.everyone}`}
          checked={everyone}
          onChange={(event) => setEveryone(event.currentTarget.checked)}
        />
      ) : null}
      <Button leftSection={<Icon name="plus" />} onClick={() => setMaking(true)}>
        {words.make}
      </Button>
    </>
  );
  return (
    <Section title={words.tokens} note={words.tokensNote} actions={actions}>
      {query.isPending ? <Loading rows={2} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedTokens, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {query.isSuccess && shown.length === 0 ? (
        <EmptyState title={words.noTokens}>{words.noTokensText}</EmptyState>
      ) : null}
      {shown.length > 0 ? (
        <Table label={words.tokens} head={everyone ? [words.operator, ...HEAD] : HEAD}>
          {shown.map((each) => (
            <TokenRow key={each.id} token={each} named={everyone} mayRevoke={tokenCan.revoke(each, session)} />
          ))}
        </Table>
      ) : null}
      {making ? <TokenDialog onClose={() => setMaking(false)} /> : null}
    </Section>
  );
}

function TokenRow({ token, named, mayRevoke }: { token: ApiToken; named: boolean; mayRevoke: boolean }) {
  const revoke = useRevokeToken();
  return (
    <>
      <tr>
        {named ? (
          <td>
            <strong>{token.username}</strong>
          </td>
        ) : null}
        <TextCell>
          <strong>{token.name || token.id.slice(0, 8)}</strong>
        </TextCell>
        <td>
          <StateMark mark={markOf(TOKEN_MARKS, token.state)} />
        </td>
        <TextCell>
          <RightList rights={token.rights} />
        </TextCell>
        <td>{token.devices ? words.deviceCount(token.devices.length) : words.allDevices}</td>
        <td>
          <Instant at={token.created_at} />
        </td>
        <td>
          <Instant at={token.expires_at} />
        </td>
        <ActionCell>
          {mayRevoke ? (
            <Button
              size="compact-sm"
              variant="default"
              aria-label={words.revokeNamed(token.name || token.id.slice(0, 8))}
              loading={revoke.isPending}
              onClick={() => revoke.mutate(token.id, { onSuccess: (gone) => notify(words.revoked(gone.name)) })}
            >
              {words.revoke}
            </Button>
          ) : null}
        </ActionCell>
      </tr>
      {revoke.error ? (
        <NoteRow columns={named ? HEAD.length + 1 : HEAD.length}>
          <ErrorPanel error={describe(words.failedRevoke, revoke.error)} />
        </NoteRow>
      ) : null}
    </>
  );
}
