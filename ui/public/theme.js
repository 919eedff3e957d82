// Sets the colour scheme before the first paint, so that a dark page never flashes white.
// A file of its own: the content security policy forbids inline scripts.
(() => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  let chosen = "auto";
  try {
    chosen = localStorage.getItem("borealis-color-scheme") ?? "auto";
  } catch {
    // storage is switched off: the system's scheme serves
  }
  const scheme = chosen === "light" || chosen === "dark" ? chosen : dark ? "dark" : "light";
  document.documentElement.setAttribute("data-mantine-color-scheme", scheme);
})();
