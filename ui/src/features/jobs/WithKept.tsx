// A form that may run a version of an assembly: that is read first, so that what is submitted is what was shown.

import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { describe } from "../../api/errors";
import type { AssemblyShown } from "../../api/types";
import { ErrorPanel } from "../../ui/ErrorPanel";
import { Loading } from "../../ui/Loading";
import { Page } from "../../ui/Page";
import { assemblyQuery } from "../library/queries";
import { words } from "./words";

interface WithKeptProps {
  /** Of the page while the assembly is read. */
  title: string;
  /** None where a script is typed. */
  assembly: string | undefined;
  version: number | undefined;
  children: (shown?: AssemblyShown) => ReactNode;
}

export function WithKept({ title, assembly, version, children }: WithKeptProps) {
  return assembly ? (
    <Read key={`${assembly} ${version}`} title={title} assembly={assembly} version={version}>
      {children}
    </Read>
  ) : (
    children()
  );
}

function Read({ title, assembly, version, children }: WithKeptProps & { assembly: string }) {
  const query = useQuery({ ...assemblyQuery(assembly, version), refetchOnWindowFocus: false, staleTime: Infinity });
  const shown = query.data;
  if (shown?.isWhole) return children(shown);
  return (
    <Page title={title}>
      {query.isPending ? <Loading rows={8} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedAssembly, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {shown ? <p role="alert">{words.notWhole}</p> : null}
    </Page>
  );
}
