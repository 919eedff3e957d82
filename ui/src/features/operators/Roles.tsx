import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { describe } from "../../api/errors";
import type { Role } from "../../api/types";
import { refusalEverywhere } from "../../lib/can";
import { NOTHING, plural } from "../../lib/units";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Icon } from "../../ui/Icon";
import { Loading } from "../../ui/Loading";
import { ActionCell, Table, TextCell } from "../../ui/Table";
import { RightList } from "../rights/RightList";
import { sessionQuery } from "../session/queries";
import { Bar } from "./Bar";
import { rolesQuery } from "./queries";
import { RoleDialog } from "./RoleDialog";
import { words } from "./words";

const HEAD = [words.role, words.description, words.rights, words.limit, words.usersOf, ""];

/** On how many devices a job may be that somebody with this role asks for alone. */
function limitOf(role: Role): string {
  if (!role.rights.some((line) => line.right === "jobs.run")) return NOTHING;
  return role.max_devices === null ? words.noLimit : plural(role.max_devices, "device", "devices");
}

export function Roles() {
  const query = useQuery(rolesQuery);
  const session = useQuery(sessionQuery).data;
  const [editing, setEditing] = useState<Role | "new" | null>(null);
  const why = refusalEverywhere(session, "roles.manage");
  const make = (
    <Button leftSection={<Icon name="plus" />} disabled={why !== undefined} title={why} onClick={() => setEditing("new")}>
      {words.makeRole}
    </Button>
  );
  return (
    <>
      <Bar note={words.noDelete}>{make}</Bar>
      {query.isPending ? <Loading rows={4} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedRoles, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {query.data ? (
        <Table label={words.roles} head={HEAD}>
          {query.data.map((role) => (
            <tr key={role.name}>
              <td>
                <strong>{role.name}</strong>
              </td>
              <TextCell>{role.description || "–"}</TextCell>
              <TextCell>
                <RightList rights={role.rights} />
              </TextCell>
              <td>{limitOf(role)}</td>
              <td>{role.users}</td>
              <ActionCell>
                {role.fixed ? (
                  <span className="dim">{words.fixed}</span>
                ) : why ? null : (
                  <Button
                    size="compact-sm"
                    variant="default"
                    aria-label={words.editRoleNamed(role.name)}
                    onClick={() => setEditing(role)}
                  >
                    {words.editRole}
                  </Button>
                )}
              </ActionCell>
            </tr>
          ))}
        </Table>
      ) : null}
      {editing ? <RoleDialog role={editing === "new" ? null : editing} onClose={() => setEditing(null)} /> : null}
    </>
  );
}
