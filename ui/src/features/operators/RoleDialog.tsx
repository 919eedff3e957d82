import { Button, TextInput } from "@mantine/core";
import { useState, type FormEvent } from "react";
import { describe } from "../../api/errors";
import type { Role } from "../../api/types";
import { draftOf } from "../../lib/rights";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import classes from "../../ui/Form.module.css";
import { notify } from "../../ui/notify";
import { RightsEditor } from "../rights/RightsEditor";
import { NamedFields } from "./NamedFields";
import { useSaveRole } from "./queries";
import { readRoleForm, runsJobs, type RoleErrors, type RoleForm } from "./roleForm";
import { words } from "./words";

/** Makes a role, or changes one. */
export function RoleDialog({ role, onClose }: { role: Role | null; onClose: () => void }) {
  const save = useSaveRole(role === null);
  const [form, setForm] = useState<RoleForm>(() => ({
    name: role?.name ?? "",
    description: role?.description ?? "",
    rights: draftOf(role?.rights ?? []),
    limit: role?.max_devices?.toString() ?? "",
  }));
  const [tried, setTried] = useState(false);
  const read = readRoleForm(form);
  const errors: RoleErrors = tried && "errors" in read ? read.errors : {};
  const patch = (change: Partial<RoleForm>): void => setForm((before) => ({ ...before, ...change }));

  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (!("request" in read)) return;
    save.mutate(read.request, {
      onSuccess: (saved) => {
        notify(words.roleSaved(saved.name));
        onClose();
      },
    });
  };

  return (
    <Dialog
      title={role ? words.editRoleTitle(role.name) : words.makeRoleTitle}
      size="lg"
      closeOnClickOutside={false}
      onClose={onClose}
    >
      <form className={classes.form} onSubmit={submit} noValidate>
        {save.error ? <ErrorPanel error={describe(words.failedRole, save.error)} /> : null}
        <NamedFields
          isNew={role === null}
          name={form.name}
          nameError={errors.name}
          description={form.description}
          onName={(name) => patch({ name })}
          onDescription={(description) => patch({ description })}
        />
        <RightsEditor draft={form.rights} error={errors.rights} onChange={(rights) => patch({ rights })} />
        {runsJobs(form) ? (
          <TextInput
            label={words.limitLabel}
            description={words.limitHint}
            inputMode="numeric"
            autoComplete="off"
            value={form.limit}
            error={errors.limit}
            onChange={(event) => patch({ limit: event.currentTarget.value })}
          />
        ) : null}
        {role?.max_devices != null && !runsJobs(form) ? <p role="status">{words.limitLost}</p> : null}
        {role ? <p className="dim">{words.roleNote}</p> : null}
        <div className={classes.buttons}>
          <Button variant="default" onClick={onClose}>
            {words.cancel}
          </Button>
          <Button type="submit" loading={save.isPending}>
            {role ? words.save : words.makeRole}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
