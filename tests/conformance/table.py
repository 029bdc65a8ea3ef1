"""table.py ROWS TSV: the table of all rows.

ROWS has what the drivers printed: ROW, SDK, mode, promise, kept|broken|n/a, note,
with tabs between. Prints a line for each promise and a column for each SDK and
mode, then what was broken or does not apply; writes TSV; ends with status 1 if
anything was broken or nothing was observed.
"""

import sys
import textwrap
from collections import Counter, defaultdict
from pathlib import Path

VERDICTS = ("kept", "broken", "n/a")
TEXT_WIDTH = 80


def main() -> int:
    rows_file, tsv_file = map(Path, sys.argv[1:])
    here = Path(__file__).resolve().parent
    texts = dict(line.split("\t", 1) for line in (here / "promises.tsv").read_text().splitlines() if line)
    rows = []
    for line in rows_file.read_text().splitlines():
        mark, *fields = line.split("\t", 5)
        if mark == "ROW" and len(fields) == 5 and fields[3] in VERDICTS:
            rows.append(fields)
        else:
            rows.append(["?", "?", "driver", "broken", f"no row: {line}"])

    lines = [("promise", "text", "sdk", "mode", "verdict", "note")]
    lines += [(promise, texts.get(promise, promise), sdk, mode, verdict, note) for sdk, mode, promise, verdict, note in rows]
    tsv_file.write_text("".join("\t".join(line) + "\n" for line in lines))

    columns = list(dict.fromkeys((sdk, mode) for sdk, mode, *_ in rows))
    cells = {(promise, sdk, mode): verdict for sdk, mode, promise, verdict, _ in rows}
    order = [*texts, *(row[2] for row in rows)]
    promises = [p for p in dict.fromkeys(order) if any(row[2] == p for row in rows)]
    heads = [(sdk, mode, max(len(sdk), len(mode), 6)) for sdk, mode in columns]
    for part in (0, 1):
        print(" " * TEXT_WIDTH, *(head[part].ljust(head[2]) for head in heads), sep="  ")
    for promise in promises:
        shown = (cells.get((promise, sdk, mode), "-").ljust(width) for sdk, mode, width in heads)
        print(texts.get(promise, promise).ljust(TEXT_WIDTH), *shown, sep="  ")

    # What has one cause is said once.
    for verdict in ("broken", "n/a"):
        by_note: dict[str, list[str]] = defaultdict(list)
        for sdk, mode, promise, found, note in rows:
            if found == verdict:
                by_note[note].append(f"{promise} ({sdk}, {mode})")
        for note, where in by_note.items():
            print()
            print(textwrap.fill(f"{verdict}: {', '.join(where)}", 110, subsequent_indent="    "))
            print(textwrap.fill(note, 110, initial_indent="    ", subsequent_indent="    "))
    counts = Counter(row[3] for row in rows)
    print(f"\nconformance: {counts['kept']} kept, {counts['broken']} broken, {counts['n/a']} n/a")
    return 1 if counts["broken"] or not counts["kept"] else 0


if __name__ == "__main__":
    sys.exit(main())
