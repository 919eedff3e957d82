// Output of scripts is text that nobody vouches for: escape codes and control characters are taken out before it is shown.

// eslint-disable-next-line no-control-regex
const ESCAPES = /\u001b(?:\[[0-?]*[ -/]*[@-~]|\][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[PX^_][^\u001b]*(?:\u001b\\)?|[@-Z\\-_])/g;
// eslint-disable-next-line no-control-regex
const CONTROLS = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]/g;
/** Characters that change the direction of what follows can make a line read as another. */
const BIDI = /[\u202a-\u202e\u2066-\u2069\u200e\u200f]/g;

/** The longest line that is laid out in one piece. */
export const LINE_LIMIT = 2_000;

export function plainText(text: string): string {
  return text
    .replaceAll("\r\n", "\n")
    .replace(ESCAPES, "")
    .replaceAll("\r", "\n")
    .replace(CONTROLS, "\ufffd")
    .replace(BIDI, "\ufffd");
}

/** Splits into lines; a line longer than the limit is cut into pieces, so that one endless line stays readable. */
export function displayLines(text: string): string[] {
  const lines: string[] = [];
  const plain = plainText(text);
  const body = plain.endsWith("\n") ? plain.slice(0, -1) : plain;
  if (body === "") return lines;
  for (const line of body.split("\n")) {
    if (line.length <= LINE_LIMIT) lines.push(line);
    else for (let at = 0; at < line.length; at += LINE_LIMIT) lines.push(line.slice(at, at + LINE_LIMIT));
  }
  return lines;
}
