import { useHotkeys } from "@mantine/hooks";
import { useQuery } from "@tanstack/react-query";
import { Link, Outlet } from "@tanstack/react-router";
import { lazy, Suspense, useState } from "react";
import { holds } from "../../lib/can";
import { zoneName } from "../../lib/time";
import { Icon } from "../../ui/Icon";
import { pendingApprovalsQuery } from "../enrolment/queries";
import { sessionQuery } from "../session/queries";
import { ConnectionBar, LiveMark } from "./ConnectionBar";
import { LiveProvider } from "./live";
import { StepUp } from "../factor/StepUp";
import { OperatorMenu } from "./OperatorMenu";
import { pagesFor } from "./pages";
import classes from "./Shell.module.css";
import { words } from "./words";

const Palette = lazy(() => import("./Palette"));

function Nav() {
  const session = useQuery(sessionQuery).data;
  const asks = holds(session, "approvals.read");
  const pending = useQuery({ ...pendingApprovalsQuery, enabled: asks }).data?.length ?? 0;
  return (
    <nav className={classes.nav} aria-label={words.nav}>
      {pagesFor(session).map(({ to, icon, label }) => (
        <Link
          key={to}
          to={to}
          className={classes.link}
          activeOptions={{ exact: to === "/", includeSearch: false }}
          activeProps={{ "data-active": true }}
        >
          <Icon name={icon} size={18} />
          <span className={classes.linkLabel}>{label}</span>
          {to === "/enrolment" && pending > 0 ? (
            <span className={classes.badge} title={words.pending(pending)}>
              <span className="visually-hidden">{words.pending(pending)}</span>
              <span aria-hidden="true">{pending}</span>
            </span>
          ) : null}
        </Link>
      ))}
    </nav>
  );
}

export function Shell() {
  return (
    <LiveProvider>
      <ShellFrame />
    </LiveProvider>
  );
}

function ShellFrame() {
  const [palette, setPalette] = useState(false);
  useHotkeys([["mod+K", () => setPalette(true)]], []);
  return (
    <div className={classes.shell}>
      <a href="#content" className={classes.skip}>
        {words.skip}
      </a>
      <header className={classes.header}>
        <Link to="/" className={classes.brand} aria-label={words.product}>
          <img src="/icon.svg" width={22} height={22} alt="" />
          <span>{words.product}</span>
        </Link>
        <button type="button" className={classes.search} onClick={() => setPalette(true)}>
          <Icon name="search" />
          <span className={classes.searchLabel}>{words.search}</span>
          <kbd className={classes.kbd}>{words.searchKey}</kbd>
        </button>
        <span className={classes.spacer} />
        <LiveMark />
        <span className={classes.zone} title={words.zone(zoneName())}>
          <Icon name="clock" />
          {zoneName()}
        </span>
        <OperatorMenu />
      </header>
      <Nav />
      <main id="content" className={classes.main} tabIndex={-1}>
        <ConnectionBar />
        <div className={classes.outlet}>
          <Outlet />
        </div>
      </main>
      <StepUp />
      {palette ? (
        <Suspense>
          <Palette onClose={() => setPalette(false)} />
        </Suspense>
      ) : null}
    </div>
  );
}
