// A version of an assembly in the place of a typed script: what it is, and the values of its variables.

import { Select, TextInput } from "@mantine/core";
import { Link } from "@tanstack/react-router";
import type { AssemblyShown, Variable } from "../../api/types";
import { AskedScript } from "./AskedView";
import classes from "./Jobs.module.css";
import { LANGUAGE_LABELS, words } from "./words";

interface KeptScriptProps {
  shown: AssemblyShown;
  values: Readonly<Record<string, string>>;
  errors: Readonly<Record<string, string>>;
  onChange: (values: Record<string, string>) => void;
}

export function KeptScript({ shown, values, errors, onChange }: KeptScriptProps) {
  const { standing, version, content } = shown;
  return (
    <div className={classes.kept}>
      <p className={classes.keptHead}>
        <Link to="/library/$assembly" params={{ assembly: standing.assembly }} search={{ version: version.version }} className={classes.jobLink}>
          {content.name}
        </Link>
        <span className="dim">
          {words.keptVersion(version.version)} · {LANGUAGE_LABELS[content.type] ?? content.type}
        </span>
        <span>{content.description}</span>
      </p>
      {content.variables.length > 0 ? (
        <div className={classes.options}>
          {content.variables.map((each) => (
            <Value
              key={each.name}
              variable={each}
              value={values[each.name] ?? each.default}
              error={errors[each.name]}
              onChange={(value) => onChange({ ...values, [each.name]: value })}
            />
          ))}
        </div>
      ) : null}
      <div>
        <AskedScript script={content.script} />
      </div>
    </div>
  );
}

interface ValueProps {
  variable: Variable;
  value: string;
  error: string | undefined;
  onChange: (value: string) => void;
}

function Value({ variable, value, error, onChange }: ValueProps) {
  const common = {
    label: variable.label || variable.name,
    description: variable.description || undefined,
    required: variable.required,
    error,
  };
  if (variable.type === "choice" || variable.type === "boolean") {
    return (
      <Select
        {...common}
        data={variable.type === "boolean" ? ["true", "false"] : variable.choices}
        value={value === "" ? null : value}
        clearable={!variable.required}
        clearButtonProps={{ "aria-label": words.clearValue(variable.name) }}
        onChange={(chosen) => onChange(chosen ?? "")}
      />
    );
  }
  return (
    <TextInput
      {...common}
      inputMode={variable.type === "number" ? "decimal" : undefined}
      autoComplete="off"
      spellCheck={false}
      disabled={variable.type === "credential"}
      value={variable.type === "credential" ? "" : value}
      onChange={(event) => onChange(event.currentTarget.value)}
    />
  );
}
