"""The few things that every room needs; nothing else is shared between rooms."""

from kexue._core.atomic import atomic_path, leftovers, write_bytes, write_text
from kexue._core.errors import InputError
from kexue._core.memory import format_memory, parse_memory
from kexue._core.optional import require
from kexue._core.parallel import effective_jobs, interruptible, run_beside, thread_map
from kexue._core.rooms import lazy_names
from kexue._core.seeds import check_seed
from kexue._core.validation import check_choice, check_float, check_int, check_texts_argument

__all__ = [
    "InputError",
    "atomic_path",
    "check_choice",
    "check_float",
    "check_int",
    "check_seed",
    "check_texts_argument",
    "effective_jobs",
    "format_memory",
    "interruptible",
    "lazy_names",
    "leftovers",
    "parse_memory",
    "require",
    "run_beside",
    "thread_map",
    "write_bytes",
    "write_text",
]
