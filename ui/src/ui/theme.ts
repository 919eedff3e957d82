// The kit's theme. Colours of states are tokens in theme.css; pages name no colour.

import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from "@mantine/core";

const aurora: MantineColorsTuple = [
  "#e6f7f6",
  "#cdebe9",
  "#9fd8d4",
  "#6cc4be",
  "#43b3ab",
  "#249c94",
  "#128680",
  "#0b736e",
  "#085d59",
  "#044745",
];

const night: MantineColorsTuple = [
  "#e2e8ee",
  "#c3ccd5",
  "#9aa7b3",
  "#738190",
  "#3a4652",
  "#2c3640",
  "#1b2229",
  "#12171c",
  "#0d1115",
  "#080b0e",
];

export const theme = createTheme({
  primaryColor: "aurora",
  // White text on it reaches 4.5:1, and the button 3:1 on both backgrounds.
  primaryShade: 7,
  colors: { aurora, dark: night },
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif',
  fontFamilyMonospace: 'ui-monospace, "Cascadia Code", "SF Mono", Menlo, Consolas, "Liberation Mono", monospace',
  fontSizes: { xs: "12px", sm: "13px", md: "14px", lg: "16px", xl: "18px" },
  defaultRadius: "sm",
  cursorType: "pointer",
  respectReducedMotion: true,
  components: {
    Button: { defaultProps: { size: "sm" } },
    TextInput: { defaultProps: { size: "sm" } },
    Select: { defaultProps: { size: "sm", allowDeselect: false, checkIconPosition: "right" } },
    Modal: { defaultProps: { centered: false, transitionProps: { duration: 0 }, overlayProps: { backgroundOpacity: 0.45 } } },
    Menu: { defaultProps: { transitionProps: { duration: 0 } } },
  },
});

/** Text and lines that reach the contrast of WCAG AA in both schemes. */
export const cssVariables: CSSVariablesResolver = () => ({
  variables: {},
  light: {
    "--mantine-color-body": "#ffffff",
    "--mantine-color-dimmed": "#56606b",
    "--mantine-color-placeholder": "#656f7a",
    "--mantine-color-error": "#b3261e",
    "--mantine-color-default-border": "#c5ccd3",
  },
  dark: {
    "--mantine-color-body": "#12171c",
    "--mantine-color-dimmed": "#9aa7b3",
    "--mantine-color-placeholder": "#8a97a4",
    "--mantine-color-error": "#ff9b90",
    "--mantine-color-default": "#1b2229",
    "--mantine-color-default-hover": "#232c35",
    "--mantine-color-default-border": "#3a4652",
    "--mantine-color-text": "#e2e8ee",
  },
});
