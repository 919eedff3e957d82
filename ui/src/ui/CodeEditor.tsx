// CodeMirror 6 as a labelled form field. Colours come from the tokens, so that both schemes keep their contrast.

import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { python } from "@codemirror/lang-python";
import {
  bracketMatching,
  HighlightStyle,
  indentOnInput,
  indentUnit,
  StreamLanguage,
  syntaxHighlighting,
} from "@codemirror/language";
import { powerShell } from "@codemirror/legacy-modes/mode/powershell";
import { shell } from "@codemirror/legacy-modes/mode/shell";
import { Compartment, EditorState, type Extension } from "@codemirror/state";
import { drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers } from "@codemirror/view";
import { tags } from "@lezer/highlight";
import { useEffect, useRef } from "react";
import type { Language } from "../api/types";

const highlight = HighlightStyle.define([
  { tag: [tags.keyword, tags.operatorKeyword, tags.controlKeyword], class: "tok-keyword" },
  { tag: [tags.string, tags.special(tags.string)], class: "tok-string" },
  { tag: [tags.comment, tags.meta], class: "tok-comment" },
  { tag: [tags.number, tags.bool, tags.null], class: "tok-number" },
  { tag: [tags.variableName, tags.definition(tags.variableName), tags.function(tags.variableName)], class: "tok-name" },
]);

const look = EditorView.theme({
  "&": { height: "100%", fontSize: "13px", backgroundColor: "var(--surface)", color: "var(--text)" },
  // The frame around the editor shows the focus.
  "&.cm-focused": { outline: "none" },
  ".cm-scroller": { fontFamily: "var(--mantine-font-family-monospace)", lineHeight: "1.55" },
  ".cm-gutters": { backgroundColor: "var(--surface-raised)", color: "var(--text-dim)", border: "none" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--surface-hover)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--surface-selected)",
  },
  ".tok-keyword": { color: "var(--code-keyword)" },
  ".tok-string": { color: "var(--code-string)" },
  ".tok-comment": { color: "var(--code-comment)" },
  ".tok-number": { color: "var(--code-number)" },
  ".tok-name": { color: "var(--code-name)" },
});

function languageSupport(language: Language): Extension {
  switch (language) {
    case "python":
      return [python(), indentUnit.of("    ")];
    case "powershell":
      return [StreamLanguage.define(powerShell), indentUnit.of("    ")];
    case "batch":
      return [indentUnit.of("  ")];
    case "sh":
    case "bash":
      return [StreamLanguage.define(shell), indentUnit.of("  ")];
  }
}

interface CodeEditorProps {
  label: string;
  value: string;
  language: Language;
  nonce: string;
  onChange: (value: string) => void;
  onSubmit: () => void;
}

export default function CodeEditor({ label, value, language, nonce, onChange, onSubmit }: CodeEditorProps) {
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<EditorView | null>(null);
  const languageSlot = useRef(new Compartment());
  const latest = useRef({ onChange, onSubmit });
  useEffect(() => {
    latest.current = { onChange, onSubmit };
  });
  const initial = useRef({ value, language, label, nonce });

  useEffect(() => {
    if (!host.current) return;
    const slot = languageSlot.current;
    const start = initial.current;
    const editor = new EditorView({
      parent: host.current,
      state: EditorState.create({
        doc: start.value,
        extensions: [
          EditorView.cspNonce.of(start.nonce),
          lineNumbers(),
          history(),
          drawSelection(),
          highlightActiveLine(),
          indentOnInput(),
          bracketMatching(),
          syntaxHighlighting(highlight),
          look,
          slot.of(languageSupport(start.language)),
          EditorView.contentAttributes.of({
            "aria-label": start.label,
            "aria-multiline": "true",
            spellcheck: "false",
            autocapitalize: "off",
          }),
          keymap.of([
            {
              key: "Mod-Enter",
              run: () => {
                latest.current.onSubmit();
                return true;
              },
            },
            // Tab indents; Escape first, then Tab leaves the editor (WCAG 2.1.2).
            indentWithTab,
            ...defaultKeymap,
            ...historyKeymap,
          ]),
          EditorView.updateListener.of((update) => {
            if (update.docChanged) latest.current.onChange(update.state.doc.toString());
          }),
        ],
      }),
    });
    view.current = editor;
    return () => {
      view.current = null;
      editor.destroy();
    };
  }, []);

  useEffect(() => {
    view.current?.dispatch({ effects: languageSlot.current.reconfigure(languageSupport(language)) });
  }, [language]);

  useEffect(() => {
    const editor = view.current;
    if (editor && editor.state.doc.toString() !== value) {
      editor.dispatch({ changes: { from: 0, to: editor.state.doc.length, insert: value } });
    }
  }, [value]);

  return <div ref={host} style={{ height: "100%" }} />;
}
