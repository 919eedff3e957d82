import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { describe } from "../../api/errors";
import type { InstallerCode } from "../../api/types";
import { codeCan, refusal } from "../../lib/can";
import { CODE_MARKS, markOf } from "../../lib/states";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { notify } from "../../ui/notify";
import { Loading } from "../../ui/Loading";
import { Section } from "../../ui/Page";
import { StateMark } from "../../ui/StateMark";
import { ActionCell, NoteRow, Table } from "../../ui/Table";
import { sessionQuery } from "../session/queries";
import { MintDialog } from "./MintDialog";
import { codesQuery, useRevokeCode } from "./queries";
import { words } from "./words";

const HEAD = [words.code, "State", words.site, "Uses left", "Approval", "Minted", "By", words.expires, ""];

export function Codes() {
  const query = useQuery(codesQuery);
  const session = useQuery(sessionQuery).data;
  const [minting, setMinting] = useState(false);
  const items = query.data ?? [];
  const why = refusal(session, "codes.create");
  const mintButton = (
    <Button
      leftSection={<Icon name="plus" />}
      disabled={why !== undefined}
      title={why}
      onClick={() => setMinting(true)}
    >
      {words.mintNamed}
    </Button>
  );
  return (
    <Section title={words.codes} actions={mintButton}>
      {query.isPending ? <Loading rows={3} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedCodes, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {query.isSuccess && items.length === 0 ? (
        <EmptyState title={words.noCodes}>{words.noCodesText}</EmptyState>
      ) : null}
      {items.length > 0 ? (
        <Table label={words.codes} head={HEAD}>
          {items.map((code) => (
            <CodeRow key={code.id} code={code} revokeRefusal={refusal(session, "codes.revoke")} />
          ))}
        </Table>
      ) : null}
      {minting ? <MintDialog onClose={() => setMinting(false)} /> : null}
    </Section>
  );
}

function CodeRow({ code, revokeRefusal }: { code: InstallerCode; revokeRefusal: string | undefined }) {
  const revoke = useRevokeCode();
  return (
    <>
      <tr>
        <td className="mono">{code.masked}</td>
        <td>
          <StateMark mark={markOf(CODE_MARKS, code.state)} />
        </td>
        <td>{code.site}</td>
        <td>
          {code.uses_left} of {code.uses}
        </td>
        <td>{code.auto_approve ? "By itself" : "By an operator"}</td>
        <td>
          <Instant at={code.created_at} />
        </td>
        <td>{code.created_by ?? "–"}</td>
        <td>
          <Instant at={code.expires_at} />
        </td>
        <ActionCell>
          {codeCan.revoke(code) ? (
            <Button
              size="compact-sm"
              variant="default"
              aria-label={words.revokeNamed(code.masked)}
              disabled={revokeRefusal !== undefined}
              title={revokeRefusal}
              loading={revoke.isPending}
              onClick={() =>
                revoke.mutate(code.id, {
                  onSuccess: () => notify(words.revoked),
                })
              }
            >
              {words.revoke}
            </Button>
          ) : null}
        </ActionCell>
      </tr>
      {revoke.error ? (
        <NoteRow columns={HEAD.length}>
          <ErrorPanel error={describe(words.failedRevoke, revoke.error)} />
        </NoteRow>
      ) : null}
    </>
  );
}
