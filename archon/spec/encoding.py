"""Decode users' files and standard input.

Text without a byte-order mark is UTF-8. Text with one may also be UTF-16 or UTF-32, which Windows
PowerShell writes. The mark is removed from the text.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from archon.errors import SpecError, os_reason

MARK = "\ufeff"
"""The byte-order mark as a character."""

_ENCODINGS = (
    # UTF-32 comes first: its little-endian mark begins with the mark of UTF-16.
    (codecs.BOM_UTF32_LE, "UTF-32", "utf-32-le"),
    (codecs.BOM_UTF32_BE, "UTF-32", "utf-32-be"),
    (codecs.BOM_UTF16_LE, "UTF-16", "utf-16-le"),
    (codecs.BOM_UTF16_BE, "UTF-16", "utf-16-be"),
    (codecs.BOM_UTF8, "UTF-8", "utf-8"),
)
LONGEST_MARK = max(len(mark) for mark, _, _ in _ENCODINGS)


def encoding_of(start: bytes) -> tuple[str, str]:
    """Return the encoding of a text from its first bytes, as a display name and Python's name.

    The result is ``("UTF-8", "utf-8")`` if there is no byte-order mark.
    """
    for mark, name, codec in _ENCODINGS:
        if start.startswith(mark):
            return name, codec
    return "UTF-8", "utf-8"


def decode_text(content: bytes, file: str | None = None) -> str:
    """Decode text by its byte-order mark, or as UTF-8 if it has none.

    The mark is removed.

    Raises
    ------
    SpecError
        A byte is invalid in the encoding. The error gives ``file``, line and column.
    """
    name, codec = encoding_of(content)
    try:
        return content.decode(codec).lstrip(MARK)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode(codec)
        reason = f"is not {name}: byte 0x{content[error.start]:02x} at {position_after(before)}"
        raise SpecError(f"{reason}; save it as UTF-8", file=file) from None


def without_marks(text: str) -> str:
    """Return the text without any byte-order marks.

    A text that was concatenated from several files may contain marks in the middle. Removing them
    is safe: as a character the mark is invisible, and Unicode has deprecated that use.
    """
    return text.replace(MARK, "")


def position_after(before: str) -> str:
    """Return the position after a text, such as ``line 3 column 1``; both numbers start at 1."""
    before = before.removeprefix(MARK)
    return f"line {before.count(chr(10)) + 1} column {len(before) - before.rfind(chr(10))}"


def read_bytes(path: Path, file: str, limit: int = -1) -> bytes:
    """Return the first ``limit`` bytes of a file; by default, all bytes.

    Parameters
    ----------
    file
        Name of the file in error messages.

    Raises
    ------
    SpecError
        The file cannot be read.
    """
    with report_os_errors(path, file), path.open("rb") as handle:
        return handle.read(limit)


def read_text(path: Path, file: str | None = None) -> str:
    """Return the text of a file.

    Parameters
    ----------
    file
        Name of the file in error messages; by default, its path.

    Raises
    ------
    SpecError
        The file cannot be read or decoded.
    """
    file = str(path) if file is None else file
    return decode_text(read_bytes(path, file), file)


@contextmanager
def open_binary(path: Path, file: str) -> Iterator[io.BufferedReader]:
    """Open a file for reading; decompress it if its name ends in ``.gz``.

    Raises
    ------
    SpecError
        The file cannot be opened, read or decompressed, also while the ``with`` block reads it.
    """
    with report_os_errors(path, file), path.open("rb") as handle:
        if path.suffix.lower() != ".gz":
            yield handle
            return
        try:
            with gzip.open(handle) as unpacked:
                yield io.BufferedReader(unpacked)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise SpecError(f"is not a complete gzip file: {error}", file=file) from None


@contextmanager
def report_os_errors(path: Path, file: str) -> Iterator[None]:
    """Convert an ``OSError`` from a ``with`` block that reads a file to a ``SpecError``.

    Raises
    ------
    SpecError
        The file cannot be opened or read. The error gives the reason.
    """
    try:
        yield
        return
    except FileNotFoundError:
        is_link = path.is_symlink()
        reason = "is a symbolic link to a file that does not exist" if is_link else "no such file"
    except IsADirectoryError:
        reason = "is a folder, not a file"
    except PermissionError:
        # Windows also raises it for a folder.
        reason = "is a folder, not a file" if path.is_dir() else "permission denied"
    except OSError as error:
        reason = f"cannot be read ({os_reason(error)})"
    except ValueError:
        reason = "is not a valid file name"
    raise SpecError(reason, file=file)
