export const words = {
  legend: "Rights",
  sitesOf: (right: string): string => `Sites of ${right}`,
  allSites: "All sites",
  chooseSites: "Choose sites",
  noSite: "No other site",
  everywhere: "The whole deployment",
  everything: "Everything",
  nothingHeld: "No rights",
  upTo: (limit: number): string => `on ${limit === 1 ? "1 device" : `${limit} devices`} alone`,
  siteless: (rights: readonly string[]): string => `Choose at least one site for ${rights.join(", ")}.`,
  notHeld: "You do not hold this right as far, so you cannot give it.",
} as const;
