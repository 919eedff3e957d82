// Every path of the API, built in one place; ids are always encoded.

type Query = Record<string, string | number | null | undefined>;

function withQuery(path: string, query: Query): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") params.set(name, String(value));
  }
  const text = params.toString();
  return text === "" ? path : `${path}?${text}`;
}

const part = encodeURIComponent;

export const paths = {
  session: "/session",
  logout: "/logout",
  stepUp: "/step-up",
  enrolTotp: "/totp/enrol",
  confirmTotp: "/totp/confirm",
  removeTotp: "/totp/remove",
  recoveryCodes: "/recovery-codes",
  passkeys: "/passkeys",
  renamePasskey: (id: string) => `/passkeys/${part(id)}/rename`,
  removePasskey: (id: string) => `/passkeys/${part(id)}/remove`,
  users: "/users",
  changeUser: (id: string, change: string) => `/users/${part(id)}/${part(change)}`,
  roles: "/roles",
  role: (name: string) => `/roles/${part(name)}`,
  sites: "/sites",
  site: (name: string) => `/sites/${part(name)}`,
  sessions: "/sessions",
  endSession: (id: string) => `/sessions/${part(id)}/end`,
  tokens: "/tokens",
  revokeToken: (id: string) => `/tokens/${part(id)}/revoke`,
  audit: (query: Query) => withQuery("/audit", query),
  verifyAudit: (query: Query) => withQuery("/audit/verify", query),
  mintCode: "/codes",
  codes: (cursor: string | null) => withQuery("/codes", { cursor }),
  revokeCode: (id: string) => `/codes/${part(id)}/revoke`,
  approvals: (query: { state?: string; cursor?: string | null }) => withQuery("/approvals", query),
  approve: (id: string) => `/approvals/${part(id)}/approve`,
  deny: (id: string) => `/approvals/${part(id)}/deny`,
  devices: (query: { cursor?: string | null; limit?: number; q?: string }) => withQuery("/devices", query),
  device: (guid: string) => `/devices/${part(guid)}`,
  changeDevice: (guid: string, change: string) => `/devices/${part(guid)}/${part(change)}`,
  tagDevice: (guid: string) => `/devices/${part(guid)}/tags`,
  submitJob: "/jobs",
  previewJob: (query: Query) => withQuery("/jobs/preview", query),
  jobs: (query: { cursor?: string | null; limit?: number }) => withQuery("/jobs", query),
  job: (id: string) => `/jobs/${part(id)}`,
  jobRuns: (id: string, query: { cursor?: string | null; limit?: number }) => withQuery(`/jobs/${part(id)}/runs`, query),
  jobOutput: (id: string, query: { cursor?: string | number | null; wait_ms?: number }) =>
    withQuery(`/jobs/${part(id)}/output`, query),
  jobOutputs: (id: string, query: { cursor?: string | null; limit?: number }) =>
    withQuery(`/jobs/${part(id)}/outputs`, query),
  jobRequest: (id: string) => `/jobs/${part(id)}/request`,
  approveJob: (id: string) => `/jobs/${part(id)}/approve`,
  cancelJob: (id: string) => `/jobs/${part(id)}/cancel`,
  continueJob: (id: string) => `/jobs/${part(id)}/continue`,
  schedules: (query: { cursor?: string | null }) => withQuery("/schedules", query),
  newSchedule: "/schedules",
  previewSchedule: (query: Query) => withQuery("/schedules/preview", query),
  schedule: (id: string) => `/schedules/${part(id)}`,
  scheduleRequest: (id: string) => `/schedules/${part(id)}/request`,
  scheduleHistory: (id: string, query: { cursor?: string | null }) => withQuery(`/schedules/${part(id)}/history`, query),
  changeSchedule: (id: string, change: string) => `/schedules/${part(id)}/${part(change)}`,
  assemblies: (query: Query) => withQuery("/library/assemblies", query),
  newAssembly: "/library/assemblies",
  assembly: (id: string, query: Query = {}) => withQuery(`/library/assemblies/${part(id)}`, query),
  assemblyDiff: (id: string, query: Query) => withQuery(`/library/assemblies/${part(id)}/diff`, query),
  changeAssembly: (id: string, change: string) => `/library/assemblies/${part(id)}/${part(change)}`,
  runOutput: (id: string, query: { stream: string; offset: number; limit: number }) =>
    withQuery(`/runs/${part(id)}/output`, query),
};
