"""A deferred module is loaded by the first who asks it for something, and only then."""

from __future__ import annotations

import subprocess
import sys


def run(program: str) -> str:
    """In a process of its own: what is tested is what ``sys.modules`` holds."""
    done = subprocess.run(
        (sys.executable, "-c", program), capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


_DEFER = """
import sys
from vmnet.deferred import defer
defer("attr.validators", "attrs.validators")
import attrs
stand_in = sys.modules["attr.validators"]
"""


def test_a_library_that_imports_it_does_not_load_it() -> None:
    assert run(f"{_DEFER}print('__file__' in vars(stand_in))") == "False\n"


def test_who_asks_gets_the_real_one() -> None:
    program = f"""{_DEFER}
@attrs.define
class Box:
    size: int = attrs.field(validator=attrs.validators.instance_of(int))
try:
    Box("big")
except TypeError:
    from attrs.validators import in_
    import attr.validators
    print(in_ is attr.validators.in_, sys.modules["attr.validators"] is not stand_in)
"""
    assert run(program) == "True True\n"


def test_what_is_loaded_stays() -> None:
    program = "import json, sys; from vmnet.deferred import defer; defer('json')"
    assert run(f"{program}; print(json is sys.modules['json'])") == "True\n"
