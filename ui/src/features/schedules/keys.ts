export const scheduleKeys = {
  all: ["schedules"] as const,
  list: ["schedules", "list"] as const,
  one: (schedule: string) => ["schedules", "one", schedule] as const,
  history: (schedule: string) => ["schedules", "one", schedule, "history"] as const,
  asked: (schedule: string) => ["schedules", "asked", schedule] as const,
  preview: ["schedules", "preview"] as const,
};
