import type { ReactNode } from "react";
import classes from "./Table.module.css";

interface TableProps {
  label: string;
  /** The headers; an empty one is the column of the buttons. */
  head: readonly string[];
  children: ReactNode;
}

/** A short list with buttons in it. Long ones are the grid's. */
export function Table({ label, head, children }: TableProps) {
  return (
    <div className={classes.box} tabIndex={0} role="group" aria-label={label}>
      <table className={classes.table}>
        <thead>
          <tr>
            {head.map((text) => (
              <th key={text} scope="col">
                {text === "" ? <span className="visually-hidden">Actions</span> : text}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

/** The cell of a row's buttons. */
export function ActionCell({ children }: { children: ReactNode }) {
  return <td className={classes.actions}>{children}</td>;
}

/** A cell whose text may be long: it wraps. */
export function TextCell({ children }: { children: ReactNode }) {
  return <td className={classes.text}>{children}</td>;
}

/** A row below a row: what became of its button. */
export function NoteRow({ columns, children }: { columns: number; children: ReactNode }) {
  return (
    <tr>
      <td colSpan={columns} className={classes.text}>
        {children}
      </td>
    </tr>
  );
}
