// What an operator typed as a device's tags, and what it takes to come there.

/** Reads words between blanks or commas, each once, in order. */
export function parseTags(text: string): string[] {
  return [...new Set(text.toLowerCase().split(/[\s,]+/))].filter(Boolean).sort();
}

/** What is to be given and taken so that a device has the tags that are wanted. */
export function tagChange(has: readonly string[], wanted: readonly string[]): { add: string[]; remove: string[] } {
  return {
    add: wanted.filter((tag) => !has.includes(tag)),
    remove: has.filter((tag) => !wanted.includes(tag)),
  };
}
