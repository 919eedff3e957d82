import { Button, Switch } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { describe } from "../../api/errors";
import type { User } from "../../api/types";
import { holdsEverywhere, refusalEverywhere } from "../../lib/can";
import { markOf, USER_MARKS } from "../../lib/states";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { StateMark } from "../../ui/StateMark";
import { ActionCell, Table, TextCell } from "../../ui/Table";
import { sessionQuery } from "../session/queries";
import { Bar } from "./Bar";
import { InviteDialog } from "./InviteDialog";
import { usersQuery } from "./queries";
import { UserDialog } from "./UserDialog";
import { words } from "./words";

const HEAD = [words.name, words.state, words.rolesLabel, words.secondFactor, words.lastLogin, words.madeBy, words.link, ""];

export function Users() {
  const query = useQuery(usersQuery);
  const session = useQuery(sessionQuery).data;
  const [inviting, setInviting] = useState(false);
  const [opened, setOpened] = useState<string | null>(null);
  const [withDeleted, setWithDeleted] = useState(false);
  const all = query.data ?? [];
  const gone = all.filter((user) => user.state === "deleted").length;
  const shown = withDeleted ? all : all.filter((user) => user.state !== "deleted");
  const user = all.find((each) => each.id === opened);
  const why = refusalEverywhere(session, "users.manage");
  const manages = holdsEverywhere(session, "users.manage");
  const actions = (
    <>
      {gone > 0 ? (
        <Switch
          size="xs"
          label={words.showDeleted(gone)}
          checked={withDeleted}
          onChange={(event) => setWithDeleted(event.currentTarget.checked)}
        />
      ) : null}
      <Button leftSection={<Icon name="plus" />} disabled={why !== undefined} title={why} onClick={() => setInviting(true)}>
        {words.invite}
      </Button>
    </>
  );
  return (
    <>
      <Bar>{actions}</Bar>
      {query.isPending ? <Loading rows={4} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedUsers, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {shown.length > 0 ? (
        <Table label={words.tabs.operators} head={HEAD}>
          {shown.map((each) => (
            <UserRow
              key={each.id}
              user={each}
              own={each.id === session?.operator}
              manages={manages}
              onOpen={() => setOpened(each.id)}
            />
          ))}
        </Table>
      ) : null}
      {inviting ? <InviteDialog onClose={() => setInviting(false)} /> : null}
      {user ? <UserDialog user={user} onClose={() => setOpened(null)} /> : null}
    </>
  );
}

interface UserRowProps {
  user: User;
  own: boolean;
  manages: boolean;
  onOpen: () => void;
}

function UserRow({ user, own, manages, onOpen }: UserRowProps) {
  return (
    <tr>
      <td>
        <strong>{user.username}</strong> {own ? <span className="dim">({words.you})</span> : null}
      </td>
      <td>
        <StateMark mark={markOf(USER_MARKS, user.state)} />
      </td>
      <TextCell>{user.roles.join(", ") || "–"}</TextCell>
      <td>{user.second_factor ? words.yes : words.no}</td>
      <td>{user.last_login_at ? <Instant at={user.last_login_at} /> : words.never}</td>
      <td>{user.created_by ?? words.first}</td>
      <td>
        {user.link_expires_at ? (
          <>
            {words.linkUntil} <Instant at={user.link_expires_at} />
          </>
        ) : (
          "–"
        )}
      </td>
      <ActionCell>
        <Button
          size="compact-sm"
          variant="default"
          aria-label={manages ? words.manageNamed(user.username) : words.showNamed(user.username)}
          onClick={onOpen}
        >
          {manages ? words.manage : words.show}
        </Button>
      </ActionCell>
    </tr>
  );
}
