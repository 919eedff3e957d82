// The operator's passkeys: listed, added, renamed, removed.

import { Button, Group } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { describe } from "../../api/errors";
import { passkeyTrouble } from "../../api/passkey";
import type { Passkey } from "../../api/types";
import { EmptyState } from "../../ui/EmptyState";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { notify } from "../../ui/notify";
import { Section } from "../../ui/Page";
import { ActionCell, NoteRow, Table, TextCell } from "../../ui/Table";
import { PasskeyDialog } from "./PasskeyDialog";
import { passkeysQuery, useAddPasskey, useRemovePasskey, useRenamePasskey } from "./queries";
import { words } from "./words";

const HEAD = [words.name, words.forHost, words.made, words.lastUsed, ""];

export function Passkeys() {
  const query = useQuery(passkeysQuery);
  const [adding, setAdding] = useState(false);
  const trouble = passkeyTrouble();
  const add = (
    <Button leftSection={<Icon name="plus" />} disabled={trouble !== null} onClick={() => setAdding(true)}>
      {words.addPasskey}
    </Button>
  );
  return (
    <Section title={words.passkeys} note={words.passkeysNote} actions={add}>
      {trouble ? <p className="dim">{trouble === "address" ? words.passkeyAddress : words.passkeyBrowser}</p> : null}
      {query.isPending ? <Loading rows={1} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedPasskeys, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {query.data?.length === 0 && !trouble ? (
        <EmptyState title={words.noPasskeys}>{words.noPasskeysText}</EmptyState>
      ) : null}
      {query.data && query.data.length > 0 ? (
        <Table label={words.passkeys} head={HEAD}>
          {query.data.map((each) => (
            <PasskeyRow key={each.id} passkey={each} />
          ))}
        </Table>
      ) : null}
      {adding ? <AddDialog onClose={() => setAdding(false)} /> : null}
    </Section>
  );
}

function AddDialog({ onClose }: { onClose: () => void }) {
  const add = useAddPasskey();
  return (
    <PasskeyDialog
      title={words.addPasskeyTitle}
      lead={words.addPasskeyLead}
      submit={words.addPasskey}
      busy={add.isPending}
      error={add.error ? describe(words.failedAdd, add.error) : null}
      onSubmit={(name) =>
        add.mutate(name, {
          onSuccess: (made) => {
            notify(words.passkeyAdded(made.name));
            onClose();
          },
        })
      }
      onClose={onClose}
    />
  );
}

function RenameDialog({ passkey, onClose }: { passkey: Passkey; onClose: () => void }) {
  const rename = useRenamePasskey(passkey.id);
  return (
    <PasskeyDialog
      title={words.renameTitle}
      name={passkey.name}
      submit={words.save}
      busy={rename.isPending}
      error={rename.error ? describe(words.failedRename, rename.error) : null}
      onSubmit={(name) => rename.mutate(name, { onSuccess: onClose })}
      onClose={onClose}
    />
  );
}

function PasskeyRow({ passkey }: { passkey: Passkey }) {
  const remove = useRemovePasskey();
  const [renaming, setRenaming] = useState(false);
  return (
    <>
      <tr>
        <TextCell>
          <strong>{passkey.name}</strong>
        </TextCell>
        <td>
          <span className="mono">{passkey.host}</span>
        </td>
        <td>
          <Instant at={passkey.created_at} />
        </td>
        <td>{passkey.last_used_at ? <Instant at={passkey.last_used_at} /> : words.never}</td>
        <ActionCell>
          <Group gap={6} justify="flex-end" wrap="nowrap">
            <Button
              size="compact-sm"
              variant="default"
              aria-label={words.renameNamed(passkey.name)}
              onClick={() => setRenaming(true)}
            >
              {words.rename}
            </Button>
            <Button
              size="compact-sm"
              variant="default"
              aria-label={words.removeNamed(passkey.name)}
              loading={remove.isPending}
              onClick={() => remove.mutate(passkey.id, { onSuccess: (gone) => notify(words.passkeyRemoved(gone.name)) })}
            >
              {words.remove}
            </Button>
          </Group>
          {renaming ? <RenameDialog passkey={passkey} onClose={() => setRenaming(false)} /> : null}
        </ActionCell>
      </tr>
      {remove.error ? (
        <NoteRow columns={HEAD.length}>
          <ErrorPanel error={describe(words.failedRemove, remove.error)} />
        </NoteRow>
      ) : null}
    </>
  );
}
