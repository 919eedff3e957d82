// The route tree. Location stands in the URL, typed and checked; pages are loaded when they are opened.

import type { QueryClient } from "@tanstack/react-query";
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  Outlet,
  redirect,
} from "@tanstack/react-router";
import { readFilter } from "./features/audit/filter";
import type { RunSearch } from "./features/devices/selection";
import { CrashPage, NotFoundPage } from "./features/shell/FallbackPages";
import { Shell } from "./features/shell/Shell";
import { currentSession } from "./features/session/queries";
import { localPath } from "./lib/localPath";

interface RouterContext {
  queryClient: QueryClient;
}

const rootRoute = createRootRouteWithContext<RouterContext>()({
  component: Outlet,
  errorComponent: CrashPage,
  notFoundComponent: NotFoundPage,
});

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function versionNumber(value: unknown): number | undefined {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0 ? value : undefined;
}

interface KeptSearch {
  assembly?: string;
  version?: number;
}

/** The version of an assembly that a form is for. */
function keptSearch(search: Record<string, unknown>): KeptSearch {
  return { assembly: text(search["assembly"]), version: versionNumber(search["version"]) };
}

export const loginRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/login",
  validateSearch: (search: Record<string, unknown>): { next?: string; ended?: boolean } => ({
    next: localPath(search["next"]),
    ended: search["ended"] === true ? true : undefined,
  }),
  component: lazyRouteComponent(() => import("./features/session/LoginPage"), "LoginPage"),
});

const setupRoute = createRoute({
  getParentRoute: () => rootRoute,
  path: "/setup",
  component: lazyRouteComponent(() => import("./features/setup/SetupPage"), "SetupPage"),
});

const appRoute = createRoute({
  getParentRoute: () => rootRoute,
  id: "app",
  beforeLoad: async ({ context, location }) => {
    const session = await currentSession(context.queryClient);
    if (!session) {
      const next = location.href === "/" ? undefined : localPath(location.href);
      throw redirect({ to: "/login", search: { next }, replace: true });
    }
  },
  component: Shell,
});

const homeRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/",
  component: lazyRouteComponent(() => import("./features/home/HomePage"), "HomePage"),
});

export const devicesRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/devices",
  validateSearch: (search: Record<string, unknown>): { q?: string } => ({ q: text(search["q"]) }),
  component: lazyRouteComponent(() => import("./features/devices/DevicesPage"), "DevicesPage"),
});

export const DEVICE_TABS = ["summary", "hardware", "network", "software", "runs"] as const;
export type DeviceTab = (typeof DEVICE_TABS)[number];

export const deviceRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/devices/$guid",
  validateSearch: (search: Record<string, unknown>): { tab?: DeviceTab } => ({
    tab: DEVICE_TABS.find((tab) => tab === search["tab"]),
  }),
  component: lazyRouteComponent(() => import("./features/devices/DevicePage"), "DevicePage"),
});

const enrolmentRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/enrolment",
  component: lazyRouteComponent(() => import("./features/enrolment/EnrolmentPage"), "EnrolmentPage"),
});

export const runRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/run",
  validateSearch: (search: Record<string, unknown>): RunSearch & KeptSearch => ({
    devices: text(search["devices"]),
    set: text(search["set"]),
    all: search["all"] === true ? true : undefined,
    ...keptSearch(search),
  }),
  component: lazyRouteComponent(() => import("./features/jobs/QuickJobPage"), "QuickJobPage"),
});

const jobsRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/jobs",
  component: lazyRouteComponent(() => import("./features/jobs/JobsPage"), "JobsPage"),
});

export const jobRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/jobs/$job",
  validateSearch: (search: Record<string, unknown>): { run?: string; state?: string; folded?: boolean } => ({
    run: text(search["run"]),
    state: text(search["state"]),
    folded: search["folded"] === true ? true : undefined,
  }),
  component: lazyRouteComponent(() => import("./features/jobs/RunViewPage"), "RunViewPage"),
});

const schedulesRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/schedules",
  component: lazyRouteComponent(() => import("./features/schedules/SchedulesPage"), "SchedulesPage"),
});

const newScheduleRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/schedules/new",
  validateSearch: keptSearch,
  component: lazyRouteComponent(() => import("./features/schedules/NewSchedulePage"), "NewSchedulePage"),
});

export const scheduleRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/schedules/$schedule",
  component: lazyRouteComponent(() => import("./features/schedules/SchedulePage"), "SchedulePage"),
});

const libraryRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/library",
  validateSearch: (search: Record<string, unknown>): { q?: string; archived?: boolean } => ({
    q: text(search["q"]),
    archived: search["archived"] === true ? true : undefined,
  }),
  component: lazyRouteComponent(() => import("./features/library/LibraryPage"), "LibraryPage"),
});

const newAssemblyRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/library/new",
  component: lazyRouteComponent(() => import("./features/library/EditPages"), "NewAssemblyPage"),
});

export const assemblyRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/library/$assembly",
  validateSearch: (search: Record<string, unknown>): { version?: number; from?: number } => ({
    version: versionNumber(search["version"]),
    from: versionNumber(search["from"]),
  }),
  component: lazyRouteComponent(() => import("./features/library/AssemblyPage"), "AssemblyPage"),
});

const editAssemblyRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/library/$assembly/edit",
  component: lazyRouteComponent(() => import("./features/library/EditPages"), "EditAssemblyPage"),
});

export const OPERATOR_TABS = ["operators", "roles", "sites"] as const;
export type OperatorTab = (typeof OPERATOR_TABS)[number];

const operatorsRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/operators",
  validateSearch: (search: Record<string, unknown>): { tab?: OperatorTab } => ({
    tab: OPERATOR_TABS.find((tab) => tab === search["tab"]),
  }),
  component: lazyRouteComponent(() => import("./features/operators/OperatorsPage"), "OperatorsPage"),
});

const accountRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/account",
  component: lazyRouteComponent(() => import("./features/account/AccountPage"), "AccountPage"),
});

const auditRoute = createRoute({
  getParentRoute: () => appRoute,
  path: "/audit",
  validateSearch: readFilter,
  component: lazyRouteComponent(() => import("./features/audit/AuditPage"), "AuditPage"),
});

const routeTree = rootRoute.addChildren([
  loginRoute,
  setupRoute,
  appRoute.addChildren([
    homeRoute,
    devicesRoute,
    deviceRoute,
    enrolmentRoute,
    runRoute,
    jobsRoute,
    jobRoute,
    schedulesRoute,
    newScheduleRoute,
    scheduleRoute,
    libraryRoute,
    newAssemblyRoute,
    assemblyRoute,
    editAssemblyRoute,
    operatorsRoute,
    auditRoute,
    accountRoute,
  ]),
]);

export function makeRouter(queryClient: QueryClient) {
  return createRouter({ routeTree, context: { queryClient }, defaultPreload: false, scrollRestoration: false });
}

declare module "@tanstack/react-router" {
  interface Register {
    router: ReturnType<typeof makeRouter>;
  }
}
