import { Button, MultiSelect, Select, TextInput } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState, type FormEvent } from "react";
import { describe } from "../../api/errors";
import { pageCan } from "../../lib/can";
import { TEXT_CHARS } from "../../lib/limits";
import { absolute } from "../../lib/time";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import classes from "../../ui/Form.module.css";
import { Shown } from "../../ui/Shown";
import { everyDeviceQuery } from "../devices/queries";
import { RightsEditor } from "../rights/RightsEditor";
import { sessionQuery } from "../session/queries";
import { useMakeToken, type MadeToken } from "./queries";
import { emptyTokenForm, readTokenForm, type TokenFormErrors } from "./tokenForm";
import { LIFETIMES, words } from "./words";

/** More options than this at once help nobody; typing narrows them. */
const MOST_DEVICES = 50;

export function TokenDialog({ onClose }: { onClose: () => void }) {
  const make = useMakeToken();
  const session = useQuery(sessionQuery).data;
  const seesDevices = pageCan.devices(session);
  const devices = useQuery({ ...everyDeviceQuery, enabled: seesDevices }).data?.items ?? [];
  const [form, setForm] = useState(emptyTokenForm);
  const [tried, setTried] = useState(false);
  const read = readTokenForm(form);
  const errors: TokenFormErrors = tried && "errors" in read ? read.errors : {};

  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if ("request" in read) make.mutate(read.request);
  };

  return (
    <Dialog title={make.data ? words.madeTitle : words.makeTitle} size="lg" closeOnClickOutside={false} onClose={onClose}>
      {make.data ? (
        <MadePanel made={make.data} onClose={onClose} />
      ) : (
        <form className={classes.form} onSubmit={submit} noValidate>
          {make.error ? <ErrorPanel error={describe(words.failedMake, make.error)} /> : null}
          <div className={classes.pair}>
            <TextInput
              label={words.name}
              placeholder={words.nameHint}
              maxLength={TEXT_CHARS}
              data-autofocus
              value={form.name}
              error={errors.name}
              onChange={(event) => setForm({ ...form, name: event.currentTarget.value })}
            />
            <Select
              label={words.lifetime}
              data={[...LIFETIMES]}
              value={form.lifetime}
              comboboxProps={{ transitionProps: { duration: 0 } }}
              onChange={(lifetime) => setForm({ ...form, lifetime: lifetime ?? form.lifetime })}
            />
          </div>
          <RightsEditor
            onlyHeld
            draft={form.rights}
            error={errors.rights}
            onChange={(rights) => setForm({ ...form, rights })}
          />
          {seesDevices ? (
            <MultiSelect
              label={words.onlyDevices}
              description={words.onlyDevicesHint}
              placeholder={form.devices.length === 0 ? words.devicesPlaceholder : ""}
              data={devices.map((device) => ({ value: device.guid, label: `${device.hostname} · ${device.site}` }))}
              value={[...form.devices]}
              searchable
              hidePickedOptions
              limit={MOST_DEVICES}
              nothingFoundMessage={words.noDevice}
              comboboxProps={{ transitionProps: { duration: 0 } }}
              onChange={(chosen) => setForm({ ...form, devices: chosen })}
            />
          ) : null}
          <div className={classes.buttons}>
            <Button variant="default" onClick={onClose}>
              {words.cancel}
            </Button>
            <Button type="submit" loading={make.isPending}>
              {words.make}
            </Button>
          </div>
        </form>
      )}
    </Dialog>
  );
}

function MadePanel({ made, onClose }: { made: MadeToken; onClose: () => void }) {
  return (
    <div className={classes.form}>
      <p className={classes.once}>{words.once}</p>
      <Shown label={words.token} text={made.token} copy={words.copyToken} testId="made-token" />
      <p className="dim">
        {words.validUntil} {absolute(made.expires_at)}. {words.madeHere}
      </p>
      <div className={classes.buttons}>
        <Button onClick={onClose}>{words.done}</Button>
      </div>
    </div>
  );
}
