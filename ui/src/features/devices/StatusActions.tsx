// What an operator can make of a device's status, and the dialog that asks for a reason first.

import { Button, Group, Text, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { describe } from "../../api/errors";
import type { Device, DeviceChange } from "../../api/types";
import { deviceCan } from "../../lib/can";
import { REASON_CHARS } from "../../lib/limits";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { notify } from "../../ui/notify";
import { sessionQuery } from "../session/queries";
import { useChangeStatus } from "./queries";
import { words } from "./words";

const RED: ReadonlySet<DeviceChange> = new Set(["revoke", "decommission"]);

export function StatusActions({ device }: { device: Device }) {
  const session = useQuery(sessionQuery).data;
  const [asking, setAsking] = useState<DeviceChange | null>(null);
  return (
    <>
      {deviceCan.change(device, session).map((change) => (
        <Button key={change} variant="default" onClick={() => setAsking(change)}>
          {words.changes[change]}
        </Button>
      ))}
      {asking ? <ChangeDialog device={device} change={asking} onClose={() => setAsking(null)} /> : null}
    </>
  );
}

interface ChangeDialogProps {
  device: Device;
  change: DeviceChange;
  onClose: () => void;
}

function ChangeDialog({ device, change, onClose }: ChangeDialogProps) {
  const [reason, setReason] = useState("");
  const mutation = useChangeStatus(device.guid);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    mutation.mutate(
      { change, reason: reason.trim() },
      {
        onSuccess: (standing) => {
          notify(words.changed(standing.hostname, standing.status));
          onClose();
        },
      },
    );
  };
  return (
    <Dialog title={words.changeTitles[change](device.hostname)} onClose={onClose}>
      <form onSubmit={submit} style={{ display: "grid", gap: 14 }}>
        <Text size="sm">{words.changeTexts[change]}</Text>
        <TextInput
          label={words.reason}
          description={words.reasonHint}
          maxLength={REASON_CHARS}
          data-autofocus
          value={reason}
          onChange={(event) => setReason(event.currentTarget.value)}
        />
        {mutation.error ? <ErrorPanel error={describe(words.failedChange(device.hostname), mutation.error)} /> : null}
        <Group justify="flex-end" gap={8}>
          <Button variant="default" onClick={onClose}>
            {words.cancel}
          </Button>
          <Button type="submit" loading={mutation.isPending} {...(RED.has(change) ? { color: "red.9" } : {})}>
            {words.changes[change]}
          </Button>
        </Group>
      </form>
    </Dialog>
  );
}
