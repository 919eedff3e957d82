import type { ReactNode } from "react";
import { factName, factRows, factTable } from "../../lib/facts";
import { EmptyState } from "../../ui/EmptyState";
import { Section } from "../../ui/Page";
import classes from "./Devices.module.css";
import { words } from "./words";

/** A list of names and values. */
export function FactList({ rows }: { rows: { name: string; value: ReactNode; wide?: boolean }[] }) {
  return (
    <dl className={classes.facts}>
      {rows.map((row) => (
        <div key={row.name} className={row.wide ? classes.wide : undefined}>
          <dt>{row.name}</dt>
          <dd>{row.value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** One part of the facts, as a list or a table, whichever its shape is. */
function FactPart({ name, value }: { name: string; value: unknown }) {
  const table = factTable(value);
  if (table) {
    return (
      <Section title={factName(name)} note={String(table.rows.length)}>
        <div className={classes.tableBox} tabIndex={0} role="group" aria-label={factName(name)}>
          <table className={classes.table}>
            <thead>
              <tr>
                {table.columns.map((column) => (
                  <th key={column.key} scope="col">
                    {column.name}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {table.rows.map((row, index) => (
                <tr key={index}>
                  {row.map((cell, at) => (
                    <td key={table.columns[at]?.key ?? at}>{cell}</td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </Section>
    );
  }
  const rows = factRows(value);
  if (rows.length === 0) return null;
  return (
    <Section title={factName(name)}>
      <FactList rows={rows} />
    </Section>
  );
}

export function FactParts({ facts, names }: { facts: Record<string, unknown> | null; names: readonly string[] }) {
  const parts = names.filter((name) => factTable(facts?.[name]) || factRows(facts?.[name]).length > 0);
  if (parts.length === 0) return <EmptyState title={words.noFacts}>{words.noFactsText}</EmptyState>;
  return (
    <>
      {parts.map((name) => (
        <FactPart key={name} name={name} value={facts?.[name]} />
      ))}
    </>
  );
}
