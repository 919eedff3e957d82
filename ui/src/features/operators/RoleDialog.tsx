import { Button, TextInput } from "@mantine/core";
import { useState, type FormEvent } from "react";
import { describe } from "../../api/errors";
import type { Role } from "../../api/types";
import { TEXT_CHARS } from "../../lib/limits";
import { draftOf, NAME, readDraft } from "../../lib/rights";
import { Dialog } from "../../ui/Dialog";
import { ErrorPanel } from "../../ui/ErrorPanel";
import classes from "../../ui/Form.module.css";
import { notify } from "../../ui/notify";
import { RightsEditor } from "../rights/RightsEditor";
import { words as rightWords } from "../rights/words";
import { useSaveRole } from "./queries";
import { words } from "./words";

/** Makes a role, or changes one. */
export function RoleDialog({ role, onClose }: { role: Role | null; onClose: () => void }) {
  const save = useSaveRole(role === null);
  const [name, setName] = useState(role?.name ?? "");
  const [description, setDescription] = useState(role?.description ?? "");
  const [draft, setDraft] = useState(() => draftOf(role?.rights ?? []));
  const [tried, setTried] = useState(false);
  const nameBad = role || NAME.test(name.trim()) ? undefined : words.nameBad;
  const { lines, siteless } = readDraft(draft);

  const submit = (event: FormEvent): void => {
    event.preventDefault();
    setTried(true);
    if (nameBad || siteless.length > 0) return;
    save.mutate(
      { name: name.trim(), description: description.trim(), rights: lines },
      {
        onSuccess: (saved) => {
          notify(words.roleSaved(saved.name));
          onClose();
        },
      },
    );
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
        <div className={classes.pair}>
          {role ? null : (
            <TextInput
              label={words.name}
              description={words.nameHint}
              autoCapitalize="none"
              autoComplete="off"
              spellCheck={false}
              data-autofocus
              value={name}
              error={tried ? nameBad : undefined}
              onChange={(event) => setName(event.currentTarget.value)}
            />
          )}
          <TextInput
            label={words.description}
            description={role ? undefined : "\u00a0"}
            maxLength={TEXT_CHARS}
            data-autofocus={role ? true : undefined}
            value={description}
            onChange={(event) => setDescription(event.currentTarget.value)}
          />
        </div>
        <RightsEditor
          draft={draft}
          error={tried && siteless.length > 0 ? rightWords.siteless(siteless) : undefined}
          onChange={setDraft}
        />
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
