import type { Job } from "../../api/types";
import { LANGUAGE_LABELS } from "./words";

/** What a job does, in a few words. */
export function jobText(job: Pick<Job, "role" | "verb" | "language">): string {
  if (job.role === "script" && job.language) return `${LANGUAGE_LABELS[job.language] ?? job.language} script`;
  return `${job.role} ${job.verb}`;
}
