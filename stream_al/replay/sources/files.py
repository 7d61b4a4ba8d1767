"""Bytes of files, decompressed as they are read, line by line."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import zstandard

from stream_al.errors import InputError

__all__ = ["COMPRESSIONS", "check_file", "failures", "lines_of", "without_mark"]

COMPRESSIONS = (".gz", ".zst")

_BUFFER = 1 << 17
_ZSTD_INPUT = 1 << 12
"""Small, because all that one piece of input decompresses to is held at once."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def check_file(path: Path, source: str) -> None:
    """See that a path is a file that can be read.

    Raises
    ------
    InputError
        If it is not.
    """
    with failures(source):
        if path.is_dir():
            raise InputError("a directory; expected a file", source)
        if path.exists() and not path.is_file():
            raise InputError("not a regular file; expected one, or - for standard input", source)
        path.open("rb").close()


@contextmanager
def failures(source: str) -> Iterator[None]:
    """Turn what goes wrong below into one InputError that names the source."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError("no such file", source) from error
    except EOFError as error:
        raise InputError("truncated: the compressed data end too early", source) from error
    except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
        raise InputError(f"damaged compressed data ({error})", source) from error
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", source) from error


class _Zstandard(io.RawIOBase):
    """Decompresses Zstandard frames; zstandard's own reader takes a cut frame for the end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = False
        self._ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            piece = self._frame.unused_data if self._frame.eof else b""
            piece = piece or self._file.read(_ZSTD_INPUT)
            if not piece:
                if self._begun and not self._frame.eof:
                    raise EOFError
                return 0
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._begun = True
            self._ready = memoryview(self._frame.decompress(piece))
        size = min(len(buffer), len(self._ready))
        buffer[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size


@contextmanager
def lines_of(path: Path, source: str) -> Iterator[Iterator[bytes]]:
    """Open a file's lines, newlines kept, decompressed by the end of its name.

    Raises
    ------
    InputError
        If the file cannot be opened, or later cannot be read or decompressed.
    """
    with failures(source), path.open("rb", buffering=_BUFFER) as file:
        suffix = path.suffix.lower()
        if suffix == ".gz":
            # GzipFile's own lines go through Python code one by one.
            yield without_mark(io.BufferedReader(gzip.GzipFile(fileobj=file), _BUFFER))
        elif suffix == ".zst":
            yield without_mark(io.BufferedReader(_Zstandard(file), _BUFFER))
        else:
            yield without_mark(file)


def without_mark(lines: Iterator[bytes] | BinaryIO) -> Iterator[bytes]:
    r"""Drop a UTF-8 byte order mark before the first line.

    Examples
    --------
    >>> list(without_mark(iter([b"\xef\xbb\xbfa,b", b"1,2"])))
    [b'a,b', b'1,2']
    """
    lines = iter(lines)
    first = next(lines, b"").removeprefix(_BYTE_ORDER_MARK)
    return chain([first], lines) if first else lines
