// What the form of an assembly says.

import type { Assembly, AssemblyDraft, AssemblyFile, Language, Variable } from "../../api/types";
import { words } from "./words";

export interface VariableForm extends Omit<Variable, "choices"> {
  /** Stays while the variable's name is typed. */
  key: number;
  /** As typed, separated by commas. */
  choices: string;
}

export interface AssemblyForm {
  name: string;
  description: string;
  category: string;
  /** As typed, separated by commas. */
  tags: string;
  type: Language;
  timeoutMs: number;
  sites: readonly string[];
  script: string;
  variables: readonly VariableForm[];
  files: readonly AssemblyFile[];
  note: string;
}

export interface AssemblyErrors {
  name?: string | undefined;
  script?: string | undefined;
  variables?: string | undefined;
}

export const emptyAssembly: AssemblyForm = {
  name: "",
  description: "",
  category: "",
  tags: "",
  type: "bash",
  timeoutMs: 3_600_000,
  sites: [],
  script: "",
  variables: [],
  files: [],
  note: "",
};

export function emptyVariable(key: number): VariableForm {
  return { key, name: "", label: "", type: "string", default: "", required: false, choices: "", description: "" };
}

export function formOf(content: Assembly): AssemblyForm {
  return {
    ...content,
    tags: content.tags.join(", "),
    timeoutMs: content.timeout_ms,
    sites: content.sites ?? [],
    variables: content.variables.map((each, key) => ({ ...each, key, choices: each.choices.join(", ") })),
    note: "",
  };
}

function listOf(text: string): string[] {
  return [...new Set(text.split(",").map((each) => each.trim()))].filter((each) => each !== "");
}

/** Reads the form: what to save, or what is wrong at the fields. */
export function readAssembly(form: AssemblyForm): { draft: AssemblyDraft; note: string } | { errors: AssemblyErrors } {
  const name = form.name.trim();
  const variables = form.variables.map(
    (each): Variable => ({
      name: each.name.trim(),
      label: each.label,
      type: each.type,
      default: each.type === "credential" ? "" : each.default,
      required: each.required,
      choices: each.type === "choice" ? listOf(each.choices) : [],
      description: each.description,
    }),
  );
  const names = variables.map((each) => each.name);
  const withoutChoice = variables.find((each) => each.type === "choice" && each.choices.length === 0);
  const errors: AssemblyErrors = {
    name: name === "" || name.length > 120 || /[@\n]/.test(name) ? words.nameBad : undefined,
    script: form.script.trim() === "" ? words.scriptBad : undefined,
    variables:
      names.includes("") || new Set(names).size < names.length
        ? words.variableBad
        : withoutChoice
          ? words.choiceBad(withoutChoice.name)
          : undefined,
  };
  if (errors.name || errors.script || errors.variables) return { errors };
  return {
    draft: {
      name,
      description: form.description.trim(),
      category: form.category.trim(),
      type: form.type,
      script: form.script,
      variables,
      files: form.files.map(({ name: file, mime_type, digest }) => ({ name: file, mime_type, digest })),
      timeout_ms: form.timeoutMs,
      sites: form.sites.length === 0 ? null : [...form.sites],
      tags: listOf(form.tags),
    },
    note: form.note.trim(),
  };
}
