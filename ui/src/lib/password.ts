// Rules for a new password. They run in the page because the server never sees the password.

export const MIN_LENGTH = 12;

/** Words that guessing starts with. A password is refused when little is left after taking them out. */
const COMMON_WORDS = (
  "password passwort passwd passphrase qwertyuiop qwerty qwertz azerty asdfghjkl asdfgh zxcvbnm administrator admin " +
  "root toor letmein welcome willkommen iloveyou princess sunshine dragon monkey football baseball basketball soccer " +
  "hockey superman batman spiderman pokemon starwars trustno master shadow michael jennifer jordan michelle charlie " +
  "andrew daniel thomas jessica ashley nicole hunter ranger freedom whatever secret geheim login access changeme " +
  "default guest user test testing temp temporary server system computer internet network manager operator borealis " +
  "aurora agent summer winter spring autumn sommer january february march april june july august september october " +
  "november december monday friday hello hallo world google facebook microsoft windows linux ubuntu debian apple " +
  "samsung company firma office cheese chocolate cookie banana orange flower butterfly lovely angel babygirl killer " +
  "liverpool arsenal chelsea bayern mustang corvette ferrari porsche mercedes harley diamond silver golden purple " +
  "correcthorsebatterystaple correct horse battery staple"
).split(" ");

const LEET: Readonly<Record<string, string>> = { "0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", $: "s", "!": "i" };

/** What has to be left once guessable parts are taken out. */
const MIN_REMAINDER = 5;

export interface PasswordRule {
  id: "length" | "common" | "name" | "match";
  label: string;
  met: boolean;
}

export interface PasswordCheck {
  rules: PasswordRule[];
  accepted: boolean;
  /** 0 to 4. */
  strength: number;
  strengthLabel: string;
}

const STRENGTHS = ["Too easy", "Weak", "Fair", "Good", "Strong"] as const;

function unleet(text: string): string {
  return Array.from(text, (char) => LEET[char] ?? char).join("");
}

/** Takes out neighbours that repeat or count (aaaa, 1234, dcba). */
function withoutRuns(text: string): string {
  let kept = "";
  for (let at = 0; at < text.length; at += 1) {
    const step = at > 0 ? text.charCodeAt(at) - text.charCodeAt(at - 1) : 99;
    const before = at > 1 ? text.charCodeAt(at - 1) - text.charCodeAt(at - 2) : 99;
    if (Math.abs(step) <= 1 && step === before) continue;
    kept += text[at];
  }
  return kept;
}

/** Gives what is left of a password when a guesser knows the common words, the user's name years and plain sequences. */
export function remainder(password: string, username: string): string {
  const names = username.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter((part) => part.length >= 3);
  const words = [...names, ...COMMON_WORDS].sort((a, b) => b.length - a.length);
  const lower = password.toLowerCase().replace(/(?:19|20)\d\d/g, "");
  const strip = (text: string): string => {
    let rest = text;
    for (const word of words) rest = rest.replaceAll(word, "");
    return withoutRuns(rest.replace(/[^\p{L}\p{N}]/gu, ""));
  };
  const plain = strip(lower);
  const read = strip(unleet(lower));
  return plain.length <= read.length ? plain : read;
}

function containsName(password: string, username: string): boolean {
  const name = username.trim().toLowerCase();
  return name.length >= 3 && password.toLowerCase().includes(name);
}

export function checkPassword(password: string, username: string, confirmation: string): PasswordCheck {
  const length = [...password].length;
  const rest = remainder(password, username);
  const distinct = new Set(rest).size;
  const rules: PasswordRule[] = [
    { id: "length", label: `At least ${MIN_LENGTH} characters`, met: length >= MIN_LENGTH },
    {
      id: "common",
      label: "Not a common password, word or sequence",
      met: length > 0 && rest.length >= MIN_REMAINDER && distinct >= 4,
    },
    { id: "name", label: "Does not contain the user name", met: length > 0 && !containsName(password, username) },
    { id: "match", label: "Both entries are the same", met: length > 0 && password === confirmation },
  ];
  const kinds = [/\p{Ll}/u, /\p{Lu}/u, /\p{N}/u, /[^\p{L}\p{N}]/u].filter((kind) => kind.test(password)).length;
  const points = Math.min(rest.length, distinct * 2) + (kinds - 1) * 1.5;
  const guessable = !rules.every((rule) => rule.met || rule.id === "match");
  const strength = length === 0 || guessable ? 0 : points < 12 ? 1 : points < 16 ? 2 : points < 21 ? 3 : 4;
  return {
    rules,
    accepted: rules.every((rule) => rule.met),
    strength,
    strengthLabel: STRENGTHS[strength] ?? STRENGTHS[0],
  };
}
