// What somebody asks for, whole: for whoever approves it, or lets it run in their own name.

import type { ReactNode } from "react";
import { duration, plural, size } from "../../lib/units";
import { CopyButton } from "../../ui/CopyButton";
import formClasses from "../../ui/Form.module.css";
import classes from "./Jobs.module.css";
import { quoted, visible } from "./review";
import type { AskedAssembly } from "./useAskedAssembly";
import { words } from "./words";

/** The members of a request's body, by name. */
export type Members = ReadonlyMap<string, unknown>;

interface AskedViewProps {
  /** Of the body of a job. */
  members: Members;
  /** What it names in the place of a script. */
  assembly?: AskedAssembly | null;
  /** Facts about it that do not stand in the body: before, and behind the others. */
  before?: readonly Row[];
  after?: readonly Row[];
}

export type Row = readonly [name: string, value: ReactNode];

/** What is shown under a name of its own; whatever else a request says is shown too, as it stands. */
const NAMED = new Set([
  "targets",
  "role",
  "verb",
  "language",
  "context",
  "script",
  "args",
  "env",
  "timeout_ms",
  "expires_in_ms",
  "retries",
  "backoff_ms",
  "assembly",
]);
/** How long the server waits before the first further try, unless told. */
const USUAL_BACKOFF_MS = 30_000;

export function AskedView({ members, assembly = null, before = [], after = [] }: AskedViewProps) {
  const text = (name: string, otherwise: string): string => {
    const value = members.get(name);
    return value === undefined || value === null ? otherwise : typeof value === "string" ? visible(value) : quoted(value);
  };
  const time = (name: string): string => {
    const value = members.get(name);
    return value === undefined ? words.usual : typeof value === "number" ? duration(value) : quoted(value);
  };
  const rows: Row[] = [
    ...before,
    [words.columns.what, `${text("role", "script")}.${text("verb", "run")}`],
    ...(members.get("assembly") == null ? [] : assemblyRows(members.get("assembly"), assembly)),
    [words.language, assembly ? assembly.content.type : text("language", words.none)],
    [words.context, text("context", "SYSTEM")],
    [words.targets, <Targets key="targets" value={members.get("targets")} />],
    [words.args, <Values key="args" value={members.get("args")} />],
    [words.env, <Values key="env" value={members.get("env")} />],
    [words.timeout, time("timeout_ms")],
    [words.waitsFor, time("expires_in_ms")],
    [words.retries, triesOf(members)],
    ...othersOf(members, NAMED),
    ...after,
  ];
  return (
    <div className={classes.review} tabIndex={0} role="group" aria-label={words.asks}>
      <dl className={formClasses.facts}>
        {rows.map(([name, value]) => (
          <Fact key={name} name={name}>
            {value}
          </Fact>
        ))}
      </dl>
      <AskedScript script={assembly ? assembly.content.script : members.get("script")} />
    </div>
  );
}

/** What becomes of a run that fails; whatever is no count or no time stands there as it is. */
function triesOf(members: Members): string {
  const retries = members.get("retries") ?? 0;
  const backoff = members.get("backoff_ms") ?? USUAL_BACKOFF_MS;
  if (typeof retries !== "number" || typeof backoff !== "number") return `${quoted(retries)} ${quoted(backoff)}`;
  return retries === 0 ? words.none : words.tries(plural(retries, "time", "times"), duration(backoff));
}

function assemblyRows(named: unknown, assembly: AskedAssembly | null): Row[] {
  const rows: Row[] = [[words.assembly, <code key="named">{quoted(named)}</code>]];
  if (!assembly) return rows;
  const { content, version, values } = assembly;
  const given = Object.fromEntries(content.variables.map((each) => [each.name, values[each.name] ?? each.default]));
  return [
    [words.assemblyName, `${visible(content.name)}, ${words.keptVersion(version)}`],
    [words.variables, <Values key="values" value={given} />],
    ...rows,
  ];
}

/** What has no name of its own here, as it stands. */
export function othersOf(members: Members, named: ReadonlySet<string>): Row[] {
  return [...members]
    .filter(([name]) => !named.has(name))
    .map(([name, value]) => [visible(name), <code key={name}>{quoted(value)}</code>]);
}

function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

const KNOWN = new Set(["all", "guids", "sites", "filter", "except"]);

function Targets({ value }: { value: unknown }) {
  const lines = targetLines(value);
  if (!lines) return <code>{quoted(value)}</code>;
  return (
    <>
      {lines.map((line) => (
        <div key={line}>{line}</div>
      ))}
    </>
  );
}

/** What targets mean, in words; null where they are not what they have to be, and are shown as they stand. */
function targetLines(value: unknown): string[] | null {
  const targets = (typeof value === "object" && value !== null ? value : {}) as Record<string, unknown>;
  const { all = false, guids = [], sites = [], filter = null, except = [] } = targets;
  const isList = (each: unknown): each is string[] => Array.isArray(each) && each.every((item) => typeof item === "string");
  if (Object.keys(targets).some((name) => !KNOWN.has(name)) || typeof all !== "boolean") return null;
  if (!isList(guids) || !isList(sites) || !isList(except) || (filter !== null && typeof filter !== "string")) return null;
  const devices = (named: string[]): string => plural(named.length, "device", "devices");
  const lines: string[] = all || (filter !== null && guids.length + sites.length === 0) ? [words.all] : [];
  if (guids.length > 0 || (lines.length === 0 && sites.length === 0)) lines.push(words.named(devices(guids)));
  if (sites.length > 0) lines.push(words.ofSites(sites.map(visible).join(", ")));
  if (filter !== null) lines.push(words.thatPass(quoted(filter)));
  if (except.length > 0) lines.push(words.without(devices(except)));
  return lines;
}

/** Arguments or variables, one a line, each in quotes, so that none passes for two. */
function Values({ value }: { value: unknown }) {
  const lines = Array.isArray(value)
    ? value.map(quoted)
    : typeof value === "object" && value !== null
      ? Object.entries(value).map(([name, each]) => `${visible(name)}=${quoted(each)}`)
      : value === undefined
        ? []
        : [quoted(value)];
  if (lines.length === 0) return <>{words.none}</>;
  return <pre className={classes.values}>{lines.join("\n")}</pre>;
}

/** A script with every character visible. */
export function AskedScript({ script }: { script: unknown }) {
  if (script === undefined || script === null) return null;
  const text = typeof script === "string" ? script : JSON.stringify(script);
  const lines = text.replace(/\n$/, "").split("\n").length;
  return (
    <>
      <div className={classes.scriptHead}>
        <h2>{words.script}</h2>
        <span className="dim">
          {plural(lines, "line", "lines")}, {size(new Blob([text]).size)}
        </span>
        <CopyButton text={text} label={words.copyScript} />
      </div>
      <pre className={classes.script} data-testid="review-script">
        {visible(text)}
      </pre>
    </>
  );
}
