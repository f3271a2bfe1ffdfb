# SPDX-License-Identifier: GPL-2.0-only
"""Tables for a screen, and the same as tab-separated files."""
import os


def draw(header, rows, indent="  "):
    """Columns as wide as what is in them; numbers to the right."""
    text = [[str(cell) for cell in row] for row in [header, *rows]]
    widths = [max(len(row[i]) for row in text) for i in range(len(header))]
    right = [all(row[i].isdigit() for row in text[1:]) and len(text) > 1
             for i in range(len(header))]
    lines = []
    for number, row in enumerate(text):
        cells = [cell.rjust(width) if flush else cell.ljust(width)
                 for cell, width, flush in zip(row, widths, right)]
        lines.append((indent + "  ".join(cells)).rstrip())
        if not number:
            lines.append(indent + "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def write(path, header, rows):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        for row in [header, *rows]:
            file.write("\t".join(str(cell).replace("\t", " ").replace(
                "\n", " ") for cell in row) + "\n")
