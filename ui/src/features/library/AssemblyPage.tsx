import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { describe } from "../../api/errors";
import type { Assembly, AssemblyShown, AssemblyVersion } from "../../api/types";
import { refusal } from "../../lib/can";
import { duration, plural } from "../../lib/units";
import { ErrorPanel } from "../../ui/ErrorPanel";
import formClasses from "../../ui/Form.module.css";
import { Icon } from "../../ui/Icon";
import { Instant } from "../../ui/Instant";
import { Loading } from "../../ui/Loading";
import { notify } from "../../ui/notify";
import { Page, Section } from "../../ui/Page";
import { Table, TextCell } from "../../ui/Table";
import { AskedScript } from "../jobs/AskedView";
import { LANGUAGE_LABELS } from "../jobs/words";
import { sessionQuery } from "../session/queries";
import { Diff } from "./Diff";
import classes from "./Library.module.css";
import { assemblyQuery, useArchive, usePublish } from "./queries";
import { TYPE_LABELS, words } from "./words";

const route = getRouteApi("/app/library/$assembly");

export function AssemblyPage() {
  const { assembly } = route.useParams();
  const search = route.useSearch();
  const query = useQuery(assemblyQuery(assembly, search.version));
  const shown = query.data;
  return (
    <Page
      title={shown?.content.name ?? words.title}
      note={shown ? <Note shown={shown} /> : undefined}
      actions={shown ? <Actions shown={shown} isWhole={shown.isWhole} /> : undefined}
    >
      {query.isPending ? <Loading rows={8} /> : null}
      {query.error ? (
        <ErrorPanel error={describe(words.failedOne, query.error)} onRetry={() => void query.refetch()} />
      ) : null}
      {shown && !shown.isWhole ? (
        <p className={formClasses.once} role="alert">
          {words.notWhole}
        </p>
      ) : null}
      {shown ? (
        <div className={classes.split}>
          <div className={classes.main}>
            {search.from === undefined ? (
              <Content shown={shown} />
            ) : (
              <Diff assembly={assembly} from={search.from} to={shown.version.version} />
            )}
          </div>
          <Versions shown={shown} />
        </div>
      ) : null}
    </Page>
  );
}

function Note({ shown }: { shown: AssemblyShown }) {
  const { standing, version } = shown;
  const parts = [
    words.newest(version.version),
    standing.archived ? words.archived : version.state === "draft" ? words.draft : words.published,
    standing.published === version.version ? words.runs : null,
  ];
  return <>{parts.filter(Boolean).join(" · ")}</>;
}

function Actions({ shown, isWhole }: { shown: AssemblyShown; isWhole: boolean }) {
  const { standing, version } = shown;
  const navigate = useNavigate();
  const session = useQuery(sessionQuery).data;
  const publish = usePublish(standing.assembly);
  const archive = useArchive(standing.assembly);
  const mayWrite = refusal(session, "library.write");
  const mayPublish = refusal(session, "library.publish");
  const mayRun = refusal(session, "jobs.run");
  const error = publish.error ?? archive.error;
  return (
    <>
      {error ? (
        <span role="alert">{describe(publish.error ? words.failedPublish : words.failedArchive, error).why}</span>
      ) : null}
      <Button
        variant="default"
        disabled={mayWrite !== undefined}
        title={mayWrite}
        loading={archive.isPending}
        onClick={() =>
          archive.mutate(!standing.archived, {
            onSuccess: (now) => notify(now.archived ? words.archivedNow : words.restoredNow),
          })
        }
      >
        {standing.archived ? words.restore : words.archive}
      </Button>
      {standing.archived ? null : (
        <>
          <Button
            variant="default"
            disabled={mayWrite !== undefined}
            title={mayWrite}
            onClick={() => void navigate({ to: "/library/$assembly/edit", params: { assembly: standing.assembly } })}
          >
            {words.edit}
          </Button>
          {standing.published === version.version ? null : (
            <Button
              variant="default"
              disabled={mayPublish !== undefined || !isWhole}
              title={mayPublish}
              loading={publish.isPending}
              onClick={() =>
                publish.mutate(
                  { version: version.version, digest: version.digest },
                  { onSuccess: () => notify(words.publishedNow(version.version)) },
                )
              }
            >
              {words.publish(version.version)}
            </Button>
          )}
          {version.state === "published" ? (
            <Button
              variant="default"
              leftSection={<Icon name="calendar" />}
              disabled={mayRun !== undefined || !isWhole}
              title={mayRun}
              onClick={() =>
                void navigate({ to: "/schedules/new", search: { assembly: standing.assembly, version: version.version } })
              }
            >
              {words.schedule}
            </Button>
          ) : null}
          {version.state === "published" ? (
            <Button
              leftSection={<Icon name="player-play" />}
              disabled={mayRun !== undefined || !isWhole}
              title={mayRun}
              onClick={() =>
                void navigate({ to: "/run", search: { assembly: standing.assembly, version: version.version } })
              }
            >
              {words.run}
            </Button>
          ) : null}
        </>
      )}
    </>
  );
}

const VARIABLE_HEAD = [words.variable, words.type, words.default, words.required, words.description];

function Content({ shown }: { shown: AssemblyShown }) {
  const { content, version } = shown;
  const rows: [string, ReactNode][] = [
    [words.description, content.description || words.nothing],
    [words.language, LANGUAGE_LABELS[content.type] ?? content.type],
    [words.category, content.category || words.nothing],
    [words.tags, content.tags.join(", ") || words.nothing],
    [words.sites, content.sites?.join(", ") ?? words.allSites],
    [words.timeout, duration(content.timeout_ms)],
    [words.digest, <span key="d" className={classes.digest} data-testid="assembly-digest">{version.digest}</span>],
  ];
  if (content.files.length > 0) rows.push([words.files, content.files.map((file) => file.name).join(", ")]);
  return (
    <>
      <dl className={formClasses.facts}>
        {rows.map(([name, value]) => (
          <div key={name} className={classes.fact}>
            <dt>{name}</dt>
            <dd>{value}</dd>
          </div>
        ))}
      </dl>
      {content.variables.length > 0 ? <Variables content={content} /> : null}
      <div>
        <AskedScript script={content.script} />
      </div>
    </>
  );
}

function Variables({ content }: { content: Assembly }) {
  return (
    <Section title={words.variables}>
      <Table label={words.variables} head={VARIABLE_HEAD}>
        {content.variables.map((each) => (
          <tr key={each.name}>
            <td className="mono">{each.name}</td>
            <td>
              {TYPE_LABELS[each.type] ?? each.type}
              {each.choices.length > 0 ? `: ${each.choices.join(", ")}` : ""}
            </td>
            <td>{each.default || words.nothing}</td>
            <td>{each.required ? words.yes : words.nothing}</td>
            <TextCell>{each.description || each.label || words.nothing}</TextCell>
          </tr>
        ))}
      </Table>
    </Section>
  );
}

function Versions({ shown }: { shown: AssemblyShown }) {
  const { standing, versions } = shown;
  return (
    <Section title={words.versions} note={plural(versions.length, "version", "versions")}>
      <ol className={classes.versions}>
        {versions.map((each, at) => (
          <VersionLine
            key={each.version}
            assembly={standing.assembly}
            version={each}
            before={versions[at + 1]?.version}
            isShown={each.version === shown.version.version}
            runs={each.version === standing.published}
          />
        ))}
      </ol>
    </Section>
  );
}

interface VersionLineProps {
  assembly: string;
  version: AssemblyVersion;
  before: number | undefined;
  isShown: boolean;
  runs: boolean;
}

function VersionLine({ assembly, version, before, isShown, runs }: VersionLineProps) {
  return (
    <li data-current={isShown || undefined}>
      <span className={classes.versionHead}>
        <Link
          to="/library/$assembly"
          params={{ assembly }}
          search={{ version: version.version }}
          aria-current={isShown || undefined}
        >
          {words.version} {version.version}
        </Link>
        <span className="dim">
          {version.state === "draft" ? words.draft : runs ? words.runs : words.published}
        </span>
        {before === undefined ? null : (
          <Link
            to="/library/$assembly"
            params={{ assembly }}
            search={{ version: version.version, from: before }}
            className={classes.compare}
            aria-label={`${words.version} ${version.version}: ${words.compareWith(before)}`}
          >
            {words.compare}
          </Link>
        )}
      </span>
      <span className="dim">
        {version.author}, <Instant at={version.at} />
      </span>
      {version.note ? <span>{version.note}</span> : null}
    </li>
  );
}
