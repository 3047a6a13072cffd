"""Where the keys of a network lie among those that a file has.

Training scripts put a state dict into dictionaries, and wrappers put prefixes before its keys:
"module." (DataParallel), "_orig_mod." (torch.compile), "net_g." and the like (a Lightning module,
which has a discriminator or a loss besides). All of that is joined by dots here, and the network
is what follows the prefix behind which the keys of a known one begin.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lnln_jax.runtime.distributed import say
from lnln_jax.runtime.files import excerpt, printable
from lnln_jax.weights.inert_pickles import module_parts
from lnln_jax.weights.memory_budget import Budget
from lnln_jax.weights.tables import NETWORKS, TABLES
from lnln_jax.weights.tables.base import Network

Value = TypeVar("Value")

_KEY_BYTES = 100  # that a joined key takes besides its characters
_DEPTH = 12  # of dictionaries, and of modules, in each other
_MARK = re.compile(rf"(?:\A|(?<=\.))(?:{'|'.join(table.mark for _, table in TABLES)})")
# Wrappers that may be around any part of a network.
_WRAPPED = re.compile(r"\b(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# A moving average is taken first.
_AVERAGE = re.compile(r"(?:\b|_)(?:ema|swa|averaged?|shadow)(?:\b|_)")
# What is taken first of several that are no averages.
_USUAL = ("params", "state_dict", "model_state_dict", "model", "net_g", "state_dict_g", "generator")
_IGNORED = re.compile(r"optim|sched")  # what nobody misses
_LISTED, _LONGEST = 5, 120  # keys, and characters of each, in a message


def flatten(tree: Any, budget: Budget) -> dict[str, Any]:
    """Joins the keys of dictionaries in each other by dots; each dictionary counts once.

    Args:
      tree: dictionary, or a module that `inert_pickles` has read; so may its items be. Keys that
        are not text are left out, as those of an optimizer's state.
      budget: memory that is left to the joined keys.

    Returns:
      What is neither a dictionary nor None, by its joined keys.

    Raises:
      ValueError: the keys would take more memory than there is left.
    """
    flat: dict[str, Any] = {}
    seen: set[int] = set()
    left = [(tree, "", 0)]  # a function that calls itself would keep the file until it is collected
    while left:
        part, prefix, depth = left.pop()
        if id(part) in seen:
            continue
        items = part if isinstance(part, Mapping) else module_parts(part)
        if items is None:
            if part is not None:  # as a module has it for a parameter that it lacks
                flat[prefix[:-1]] = part
        else:
            seen.add(id(part))
            texts = [key for key in items if isinstance(key, str)]
            budget.take(sum(_KEY_BYTES + 4 * len(prefix) + 4 * len(key) for key in texts))
            if depth <= _DEPTH:
                left += [(items[key], f"{prefix}{key}.", depth + 1) for key in reversed(texts)]
    flat.pop("", None)  # of what is no dictionary
    return flat


def table_of(keys: Iterable[str], name: str | None = None) -> tuple[str, Network] | None:
    """Returns the network whose marks most of the keys have, with its table.

    Args:
      keys: keys without prefix.
      name: network, if it is known; then only its tables are compared.
    """
    keys = list(keys)
    marks = [
        sum(re.match(table.mark, key) is not None for key in keys) if name in (None, of) else -1
        for of, table in TABLES
    ]
    best = marks.index(max(marks))
    return TABLES[best] if marks[best] > 0 else None


def select_network(flat: Mapping[str, Value], path: Path) -> dict[str, Value]:
    """Takes the network out of what a file has, and says on stderr what arrays are left.

    Args:
      flat: values by keys, with prefixes if they have some.
      path: file, for messages.

    Returns:
      Those of one network, by keys without prefix.

    Raises:
      ValueError: there is no known network, or several of which none is a moving average.
    """
    clean = _unwrapped(flat)
    try:
        prefix = _choose(_prefixes(clean), clean)
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {error}") from error
    rest = {
        _first_part(key, prefix)
        for key, value in clean.items()
        if not key.startswith(prefix) and _is_array(value) and not _IGNORED.search(key)
    }
    if rest:
        taken = list_keys([prefix[:-1]])
        say(f"{printable(path)}: {taken} is taken; left out: {list_keys(sorted(rest))}")
    return {key[len(prefix) :]: v for key, v in clean.items() if key.startswith(prefix)}


def list_keys(keys: Iterable[str]) -> str:
    """Returns the first of some keys in one line, each cut where it is long."""
    keys = list(keys)
    more = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
    return ", ".join(excerpt(key, _LONGEST) for key in keys[:_LISTED]) + more


def _unwrapped(flat: Mapping[str, Value]) -> dict[str, Value]:
    """Takes wrappers out of the keys, unless two keys would be the same then."""
    clean = {_WRAPPED.sub("", key): value for key, value in flat.items()}
    return clean if len(clean) == len(flat) else dict(flat)


def _prefixes(keys: Iterable[str]) -> list[str]:
    """Returns the prefixes behind which a network begins, none of which begins with another."""
    found = {key[: mark.start()] for key in keys if (mark := _MARK.search(key))}
    outermost: list[str] = []
    for prefix in sorted(found):  # within a group of RCAN stands what looks like an EDSR
        if not outermost or not prefix.startswith(outermost[-1]):
            outermost.append(prefix)
    return outermost


def _choose(prefixes: list[str], keys: Iterable[str]) -> str:
    """Returns the prefix of the network to take."""
    if not prefixes:
        raise ValueError(
            f"these are the keys of no known network ({', '.join(sorted(NETWORKS))}): "
            f"{list_keys(keys) or 'no keys'}; "
            "rename them as weights/tables has them"
        )
    prefixes = [prefix for prefix in prefixes if not _IGNORED.search(prefix)] or prefixes
    candidates = [prefix for prefix in prefixes if _AVERAGE.search(prefix)] or prefixes
    for name in _USUAL:
        named = [prefix for prefix in candidates if prefix.startswith(f"{name}.")]
        candidates = named if len(named) == 1 else candidates
    if len(candidates) > 1:
        raise ValueError(
            f"there are several networks: {list_keys(prefix[:-1] for prefix in candidates)}; save "
            "the state dict of one of them"
        )
    return candidates[0]


def _is_array(value: Any) -> bool:
    """Returns whether a value is an array or a tensor with axes, unlike a count."""
    return len(getattr(value, "shape", ())) > 0


def _first_part(key: str, prefix: str) -> str:
    """Returns a key up to where it leaves a prefix: a.b of a.b.c for the prefix "a.x."."""
    parts, others = key.split("."), prefix.split(".")
    apart = (i for i, part in enumerate(parts) if part != others[i])
    return ".".join(parts[: next(apart, len(parts)) + 1])
