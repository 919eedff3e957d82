// Command lines to copy.

/** Makes a word of a POSIX shell that stands for the text itself. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}
