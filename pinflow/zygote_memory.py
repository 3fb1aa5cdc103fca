"""The memory of the zygote as forks like it: in huge pages, and what is written to close together.

A fork copies, and the child's end frees, an entry for each page. One that either of them writes to is copied itself,
and if it is a huge one, it falls into small pages.
"""

import ctypes
import gc
import re
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

_SIZE = 1 << 21
_MADV_COLLAPSE = 25
"""Linux 6.1; older ones refuse it, and all stays as it is."""
_GARBAGE = 10_000
"""After how many new objects children look for garbage: most end before."""
_OBJECTS_A_GAP = 140
"""Imports of so many objects leave less than one gap in most of Python's sizes (`sys._debugmallocstats` shows them)."""
_PRIVATE = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) rw-p \S+ 00:00 0 *(?:\[heap\])?$", re.MULTILINE)

_madvise = ctypes.CDLL(None).madvise
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_fillings: list[object] = []


def settle() -> None:
    """Prepare what was imported for forks that leave most of it alone."""
    # SQLAlchemy leaves many that have nothing to do at exit; each child would look at all of them.
    weakref.finalize._registry.clear()  # type: ignore[attr-defined]
    _fill_gaps()
    # Objects out of the collector's sight keep their pages shared with the children.
    gc.freeze()
    gc.set_threshold(_GARBAGE)
    gc.enable()


def collapse() -> Iterator[int]:
    """Make huge pages of this process's own memory as it is now, one at each step; gives their addresses."""
    for found in _PRIVATE.finditer(Path("/proc/self/maps").read_text(encoding="ascii")):
        first, end = int(found[1], 16), int(found[2], 16)
        for address in range(-(-first // _SIZE) * _SIZE, end - _SIZE + 1, _SIZE):
            if _madvise(address, _SIZE, _MADV_COLLAPSE) == 0:
                yield address


def _fill_gaps() -> None:
    """Fill the gaps that imports left between their objects, so that those made from now on lie together."""
    gaps = len(gc.get_objects()) // _OBJECTS_A_GAP
    for size in range(48, 513, 16):
        _fillings.extend(bytes(size - sys.getsizeof(b"")) for _ in range(gaps if size > 64 else 4 * gaps))
    _fillings.extend(object() for _ in range(gaps))
    _fillings.extend(map(float, range(gaps)))
