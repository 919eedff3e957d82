/** The longest reason that the server keeps, in characters. */
export const REASON_CHARS = 400;
