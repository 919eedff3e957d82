import { useQuery } from "@tanstack/react-query";
import { describe } from "../../api/errors";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Loading } from "../../ui/Loading";
import { Section } from "../../ui/Page";
import { Table, TextCell } from "../../ui/Table";
import { quoted, visible } from "../jobs/review";
import classes from "./Library.module.css";
import { diffQuery } from "./queries";
import { words } from "./words";

const HEAD = [words.field, words.was, words.is];

function kindOf(line: string): "add" | "del" | "place" | undefined {
  if (line.startsWith("+")) return "add";
  if (line.startsWith("-")) return "del";
  return line.startsWith("@@") ? "place" : undefined;
}

/** How two versions differ. */
export function Diff({ assembly, from, to }: { assembly: string; from: number; to: number }) {
  const { data, error, isPending, refetch } = useQuery(diffQuery(assembly, from, to));
  return (
    <Section title={words.diffTitle(from, to)}>
      {isPending ? <Loading rows={6} /> : null}
      {error ? <ErrorPanel error={describe(words.failedDiff, error)} onRetry={() => void refetch()} /> : null}
      {data && data.fields.length === 0 && data.script === "" ? <p>{words.same}</p> : null}
      {data && data.fields.length > 0 ? (
        <Table label={words.field} head={HEAD}>
          {data.fields.map((each) => (
            <tr key={each.field}>
              <td>{each.field}</td>
              <TextCell>{quoted(each.from)}</TextCell>
              <TextCell>{quoted(each.to)}</TextCell>
            </tr>
          ))}
        </Table>
      ) : null}
      {data && data.script !== "" ? (
        <pre className={classes.diff} tabIndex={0} aria-label={words.diffScript} role="group" data-testid="diff">
          {data.script
            .replace(/\n$/, "")
            .split("\n")
            .map((line, at) => (
              <span key={at} data-kind={kindOf(line)}>
                {visible(line)}
                {"\n"}
              </span>
            ))}
        </pre>
      ) : null}
    </Section>
  );
}
