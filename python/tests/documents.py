"""Pages of the documentation as programs: their code blocks, and the cells of their tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What segments are called in examples. They get names of their own here, since other programs run at the same time.
NAMES = ("demo", "prices", "jobs", "ledger")
NAME = re.compile(rf"""(?<=["'/])({"|".join(NAMES)})(?=[-"'])""")
CODE_CELL = re.compile(r"`[^`]+`(?:<br>`[^`]+`)*")
PROSE_CELL = re.compile(r"\*[^*]+\*")


@dataclass(frozen=True)
class Cell:
    """One program of a table: its last line is an expression, whose value the row's last cell tells."""

    column: str
    code: str


@dataclass(frozen=True)
class Row:
    line: int
    cells: tuple[Cell, ...]
    gives: str


@dataclass(frozen=True)
class Block:
    line: int
    language: str
    code: str
    file: str | None  # for a block that other programs of the page find beside them under this name


def blocks_of(page: str, *languages: str) -> list[Block]:
    found = re.finditer(rf"^```({'|'.join(languages)})\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [
        Block(
            line=page.count("\n", 0, match.start()) + 1,
            language=match[1],
            code=match[2],
            file=named[1] if (named := re.match(r"(?:#|//) ([\w.]+\.\w+)\n", match[2])) else None,
        )
        for match in found
    ]


def prelude_of(page: str, language: str) -> str:
    """What every cell of a table in this language has before it: the block below the mark."""
    match = re.search(rf"<!-- prelude -->\n+```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert match, f"The page has no prelude in {language}"
    return match[1]


def rows_of(page: str) -> list[Row]:
    """The rows of all tables whose last column is 'gives'. A cell is code, or says in italics why there is none."""
    rows: list[Row] = []
    header: list[str] | None = None
    for number, line in enumerate(page.splitlines(), 1):
        if not line.startswith("|"):
            header = None
            continue
        cells = split_row(line)
        if header is None:
            header = cells
        elif header[-1] == "gives" and not set(line) <= set("|-: "):
            rows.append(row_of(header, cells, number))
    return rows


def row_of(header: list[str], cells: list[str], line: int) -> Row:
    assert len(cells) == len(header), f"Line {line} has {len(cells)} cells instead of {len(header)}"
    for cell in cells:
        assert CODE_CELL.fullmatch(cell) or PROSE_CELL.fullmatch(cell), f"Line {line}: neither code nor prose: {cell}"
    *programs, gives = cells
    code = tuple(Cell(column, code_of(cell)) for column, cell in zip(header, programs) if CODE_CELL.fullmatch(cell))
    assert code, f"Line {line} has nothing to run"
    assert CODE_CELL.fullmatch(gives), f"Line {line} has no value"
    return Row(line, code, code_of(gives))


def code_of(cell: str) -> str:
    return "\n".join(re.findall(r"`([^`]+)`", cell)).replace(r"\|", "|")


def split_row(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]


def renamed(code: str, prefix: str) -> str:
    """The code with segments of its own."""
    return NAME.sub(rf"{prefix}-\1", code)


def names_in(code: str, prefix: str) -> set[str]:
    """The names of segments that renamed code gives in quotes."""
    return set(re.findall(rf"{re.escape(prefix)}-[\w-]+", code))
