"""``python -I -S …/responder CONFIG``: the folder is the program.

Its own modules are then a package named like it, without the one around it.
"""

import sys
from importlib import import_module

folder, _, package = sys.path[0].rpartition("/")
sys.path[0] = folder
import_module(f"{package}.daemon").main(sys.argv[1])
