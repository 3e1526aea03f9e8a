"""Terminals for tests: an emulator that shows what a person would see, and a pseudo-terminal that collects output."""

import os
import threading


class Screen:
    """Emulates a terminal: carriage return, line feed, backspace and the codes that erase a line; fails on all others.

    Attributes
    ----------
    rows : list of str
        The visible rows, without trailing spaces.
    frames : list of str
        The content of the cursor's row, each time before the cursor moves back in it or leaves it.
    widest : int
        Number of columns used; a terminal with this many columns does not wrap.
    """

    def __init__(self, text: str) -> None:
        self._cells: list[list[str]] = [[]]
        self._column = 0
        self.widest = 0
        self.frames: list[str] = []
        while text:
            text = text[self._take(text) :]
        self.rows = ["".join(row).rstrip() for row in self._cells]

    def _take(self, text: str) -> int:
        row, first = self._cells[-1], text[0]
        if first in "\r\n":
            self.frames.append("".join(row).rstrip())
            self._column = 0 if first == "\r" else self._column
            if first == "\n":
                self._cells.append([" "] * self._column)
        elif first == "\b":
            self._column = max(self._column - 1, 0)
        elif text.startswith("\x1b[K"):
            del row[self._column :]
            return 3
        elif text.startswith("\x1b[2K"):
            row[:] = [" "] * self._column
            return 4
        else:
            assert first.isprintable(), repr(text[:20])
            row += [" "] * (self._column + 1 - len(row))
            row[self._column] = first
            self._column += 1
            self.widest = max(self.widest, self._column)
        return 1


class PseudoTerminal:
    """A pseudo-terminal with this many columns; ``stream`` writes to it."""

    def __init__(self, columns: int) -> None:
        import termios

        self.ours, self.theirs = os.openpty()
        termios.tcsetwinsize(self.theirs, (24, columns))
        self.stream = open(self.theirs, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        self._written = b""
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self.ours, 65536)
            except OSError:  # Linux: the other end is closed
                return
            if not piece:
                return
            self._written += piece

    @property
    def text(self) -> str:
        """Everything written so far."""
        return self._written.decode("utf-8", errors="replace")

    def close(self) -> str:
        """Close it and return everything that was written."""
        self.stream.close()
        os.close(self.theirs)
        self._reading.join()
        os.close(self.ours)
        return self.text
