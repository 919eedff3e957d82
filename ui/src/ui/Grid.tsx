// The one table of the product: virtual rows, ARIA grid, roving focus kept by row id, selection, sorting.
//
// Cells are plain elements: a kit component per row costs a third of a frame at speed.

import {
  createColumnHelper,
  createSortedRowModel,
  rowSortingFeature,
  tableFeatures,
  useTable,
  type RowData,
} from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import { useEffect, useMemo, useRef, useState, type KeyboardEvent, type MouseEvent, type ReactNode } from "react";
import classes from "./Grid.module.css";

const ROW_HEIGHT = 32;

export interface GridColumn<T> {
  id: string;
  header: string;
  /** A track of CSS grid, for example `minmax(120px, 2fr)`. */
  width: string;
  align?: "end";
  cell: (row: T) => ReactNode;
  /** Makes the column sortable. */
  sortBy?: (row: T) => string | number | null;
}

export interface GridProps<T extends RowData> {
  label: string;
  columns: readonly GridColumn<T>[];
  rows: readonly T[];
  rowId: (row: T) => string;
  /** What a row is called by assistive technology. */
  rowName: (row: T) => string;
  /** Of all that match, also those that are not loaded. */
  total?: number;
  onOpen?: (row: T) => void;
  selected?: ReadonlySet<string>;
  onSelect?: (selected: Set<string>) => void;
  /** The row that is shown beside the table. */
  current?: string | null;
  /** The end comes into sight: load more. */
  onEnd?: () => void;
  empty?: ReactNode;
  dimmed?: boolean;
}

const features = tableFeatures({ rowSortingFeature, sortedRowModel: createSortedRowModel(), sortFns: {} });

function compare(a: string | number | null, b: string | number | null): number {
  if (a === b) return 0;
  if (a === null) return 1;
  if (b === null) return -1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

export function Grid<T extends RowData>(props: GridProps<T>) {
  const { columns, rows, rowId, rowName, onOpen, selected, onSelect, onEnd } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const [focusId, setFocusId] = useState<string | null>(null);
  const anchor = useRef<string | null>(null);
  const selectable = selected !== undefined && onSelect !== undefined;

  const defs = useMemo(() => {
    const helper = createColumnHelper<typeof features, T>();
    return columns.map((column) =>
      helper.accessor((row: T): unknown => column.sortBy?.(row) ?? null, {
        id: column.id,
        header: column.header,
        enableSorting: column.sortBy !== undefined,
        sortDescFirst: false,
        sortFn: (a, b) => compare(column.sortBy?.(a.original) ?? null, column.sortBy?.(b.original) ?? null),
      }),
    );
  }, [columns]);
  const data = useMemo(() => [...rows], [rows]);
  const table = useTable({ features, columns: defs, data, getRowId: rowId });
  const sorted = table.getRowModel().rows;
  const sorting = table.state.sorting;

  const virtual = useVirtualizer({
    count: sorted.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    getItemKey: (index) => sorted[index]?.id ?? index,
    overscan: 8,
    scrollPaddingStart: ROW_HEIGHT,
  });
  const items = virtual.getVirtualItems();
  const lastIndex = items.at(-1)?.index ?? -1;
  useEffect(() => {
    if (onEnd && lastIndex >= sorted.length - 20) onEnd();
  }, [onEnd, lastIndex, sorted.length]);

  const focusIndex = Math.max(
    0,
    sorted.findIndex((row) => row.id === focusId),
  );

  const focusRow = (index: number): void => {
    const at = Math.min(Math.max(index, 0), sorted.length - 1);
    const row = sorted[at];
    if (!row) return;
    setFocusId(row.id);
    virtual.scrollToIndex(at);
    requestAnimationFrame(() => {
      scroller.current?.querySelector<HTMLElement>(`[data-row-index="${at}"]`)?.focus({ preventScroll: true });
    });
  };

  const toggle = (id: string, range: boolean): void => {
    if (!selectable) return;
    const next = new Set(selected);
    const from = range && anchor.current ? sorted.findIndex((row) => row.id === anchor.current) : -1;
    const to = sorted.findIndex((row) => row.id === id);
    if (from >= 0 && to >= 0) {
      for (const row of sorted.slice(Math.min(from, to), Math.max(from, to) + 1)) next.add(row.id);
    } else if (!next.delete(id)) {
      next.add(id);
    }
    anchor.current = id;
    onSelect(next);
  };

  const onKeyDown = (event: KeyboardEvent<HTMLDivElement>): void => {
    const target = event.target as HTMLElement;
    if (target.closest("input, button, a")) return;
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 320) / ROW_HEIGHT) - 2);
    const moves: Record<string, number> = {
      ArrowDown: focusIndex + 1,
      j: focusIndex + 1,
      ArrowUp: focusIndex - 1,
      k: focusIndex - 1,
      PageDown: focusIndex + page,
      PageUp: focusIndex - page,
      Home: 0,
      End: sorted.length - 1,
    };
    const move = moves[event.key];
    const row = sorted[focusIndex];
    if (move !== undefined && !(event.ctrlKey && event.key.length === 1)) {
      event.preventDefault();
      focusRow(move);
    } else if (event.key === "Enter" && row && onOpen) {
      event.preventDefault();
      onOpen(row.original);
    } else if ((event.key === " " || event.key.toLowerCase() === "x") && row && selectable && !event.ctrlKey) {
      event.preventDefault();
      toggle(row.id, event.shiftKey);
    } else if (event.key === "a" && (event.ctrlKey || event.metaKey) && selectable) {
      event.preventDefault();
      onSelect(new Set(sorted.map((each) => each.id)));
    } else if (event.key === "Escape" && selectable && selected.size > 0) {
      event.preventDefault();
      onSelect(new Set());
    }
  };

  const onRowClick = (event: MouseEvent, row: T): void => {
    if ((event.target as HTMLElement).closest("a, button, input, label")) return;
    if (window.getSelection()?.toString()) return;
    onOpen?.(row);
  };

  const tracks = `${selectable ? "36px " : ""}${columns.map((column) => column.width).join(" ")}`;
  const allSelected = selectable && sorted.length > 0 && sorted.every((row) => selected.has(row.id));
  const someSelected = selectable && !allSelected && selected.size > 0;

  // The focus moves among the rows (roving tabindex): the grid itself is no tab stop.
  return (
    <div
      ref={scroller}
      className={classes.grid}
      role="grid"
      aria-label={props.label}
      aria-rowcount={(props.total ?? sorted.length) + 1}
      aria-multiselectable={selectable || undefined}
      data-dimmed={props.dimmed || undefined}
      onKeyDown={onKeyDown}
    >
      <div role="rowgroup" className={classes.head}>
        <div role="row" aria-rowindex={1} className={classes.headRow} style={{ gridTemplateColumns: tracks }}>
          {selectable ? (
            <div role="columnheader" className={classes.check}>
              <input
                type="checkbox"
                aria-label="Select all rows"
                checked={allSelected}
                ref={(box) => {
                  if (box) box.indeterminate = someSelected;
                }}
                onChange={() => onSelect(allSelected ? new Set() : new Set(sorted.map((row) => row.id)))}
              />
            </div>
          ) : null}
          {columns.map((column) => {
            const order = sorting.find((sort) => sort.id === column.id);
            return (
              <div
                key={column.id}
                role="columnheader"
                className={classes.headCell}
                data-align={column.align}
                aria-sort={order ? (order.desc ? "descending" : "ascending") : undefined}
              >
                {column.sortBy ? (
                  <button
                    type="button"
                    className={classes.sort}
                    onClick={() => table.getColumn(column.id)?.toggleSorting()}
                  >
                    {column.header}
                    <span aria-hidden="true" className={classes.arrow}>
                      {order ? (order.desc ? "↓" : "↑") : ""}
                    </span>
                  </button>
                ) : (
                  column.header
                )}
              </div>
            );
          })}
        </div>
      </div>
      {sorted.length === 0 && props.empty ? (
        <div role="rowgroup" className={classes.empty}>
          <div role="row">
            <div role="gridcell">{props.empty}</div>
          </div>
        </div>
      ) : null}
      <div role="rowgroup" className={classes.body} style={{ height: virtual.getTotalSize() }}>
        {items.map((item) => {
          const row = sorted[item.index];
          if (!row) return null;
          const isSelected = selectable ? selected.has(row.id) : undefined;
          // Keys are taken by the grid.
          return (
            <div
              key={row.id}
              role="row"
              aria-rowindex={item.index + 2}
              aria-selected={isSelected}
              aria-label={rowName(row.original)}
              aria-current={props.current === row.id || undefined}
              data-row-index={item.index}
              data-openable={onOpen ? true : undefined}
              tabIndex={item.index === focusIndex ? 0 : -1}
              className={classes.row}
              style={{ gridTemplateColumns: tracks, transform: `translateY(${item.start}px)` }}
              onFocus={(event) => {
                if (event.target === event.currentTarget) setFocusId(row.id);
              }}
              onClick={(event) => onRowClick(event, row.original)}
            >
              {selectable ? (
                <div role="gridcell" className={classes.check}>
                  <input
                    type="checkbox"
                    tabIndex={-1}
                    aria-label={`Select ${rowName(row.original)}`}
                    checked={isSelected ?? false}
                    onChange={(event) => toggle(row.id, (event.nativeEvent as unknown as { shiftKey?: boolean }).shiftKey ?? false)}
                  />
                </div>
              ) : null}
              {columns.map((column) => (
                <div key={column.id} role="gridcell" className={classes.cell} data-align={column.align}>
                  {column.cell(row.original)}
                </div>
              ))}
            </div>
          );
        })}
      </div>
    </div>
  );
}
