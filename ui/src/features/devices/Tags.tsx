// The tags of a device, and the dialog that changes them.

import { Button, Group, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { describe } from "../../api/errors";
import type { Device } from "../../api/types";
import { deviceCan } from "../../lib/can";
import { NOTHING } from "../../lib/units";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { notify } from "../../ui/notify";
import { sessionQuery } from "../session/queries";
import { useChangeTags } from "./queries";
import { parseTags, tagChange } from "./tags";
import { words } from "./words";

export function Tags({ device }: { device: Device }) {
  const session = useQuery(sessionQuery).data;
  const [changing, setChanging] = useState(false);
  return (
    <>
      {device.tags.join(" ") || NOTHING}{" "}
      {deviceCan.tag(device, session) ? (
        <Button variant="subtle" size="compact-xs" onClick={() => setChanging(true)}>
          {words.changeTags}
        </Button>
      ) : null}
      {changing ? <TagDialog device={device} onClose={() => setChanging(false)} /> : null}
    </>
  );
}

function TagDialog({ device, onClose }: { device: Device; onClose: () => void }) {
  const [text, setText] = useState(device.tags.join(" "));
  const mutation = useChangeTags(device.guid);
  const submit = (event: FormEvent): void => {
    event.preventDefault();
    mutation.mutate(tagChange(device.tags, parseTags(text)), {
      onSuccess: ({ hostname }) => {
        notify(words.tagged(hostname));
        onClose();
      },
    });
  };
  return (
    <Dialog title={words.changeTagsTitle(device.hostname)} onClose={onClose}>
      <form onSubmit={submit} style={{ display: "grid", gap: 14 }}>
        <TextInput
          label={words.tags}
          description={words.tagsHint}
          data-autofocus
          value={text}
          onChange={(event) => setText(event.currentTarget.value)}
        />
        {mutation.error ? <ErrorPanel error={describe(words.failedTags(device.hostname), mutation.error)} /> : null}
        <Group justify="flex-end" gap={8}>
          <Button variant="default" onClick={onClose}>
            {words.cancel}
          </Button>
          <Button type="submit" loading={mutation.isPending}>
            {words.save}
          </Button>
        </Group>
      </form>
    </Dialog>
  );
}
