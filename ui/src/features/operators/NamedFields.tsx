import { TextInput } from "@mantine/core";
import { TEXT_CHARS } from "../../lib/limits";
import classes from "../../ui/Form.module.css";
import { words } from "./words";

interface NamedFieldsProps {
  /** What is there already keeps its name. */
  isNew: boolean;
  name: string;
  nameError?: string | undefined;
  description: string;
  onName: (name: string) => void;
  onDescription: (description: string) => void;
}

/** The name of something new, and what it is for. */
export function NamedFields({ isNew, name, nameError, description, onName, onDescription }: NamedFieldsProps) {
  return (
    <div className={classes.pair}>
      {isNew ? (
        <TextInput
          label={words.name}
          description={words.nameHint}
          autoCapitalize="none"
          autoComplete="off"
          spellCheck={false}
          data-autofocus
          value={name}
          error={nameError}
          onChange={(event) => onName(event.currentTarget.value)}
        />
      ) : null}
      <TextInput
        label={words.description}
        description={isNew ? "\u00a0" : undefined}
        maxLength={TEXT_CHARS}
        data-autofocus={isNew ? undefined : true}
        value={description}
        onChange={(event) => onDescription(event.currentTarget.value)}
      />
    </div>
  );
}
