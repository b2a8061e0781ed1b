"""pluggy's markers for this project."""

import pluggy

PROJECT = "vmnet"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)
