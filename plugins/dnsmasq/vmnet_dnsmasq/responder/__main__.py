"""Entry point: ``python -I -S …/responder FOLDER CONFIG`` runs this folder as a program.

Its modules are imported as the package ``responder``, without the package ``vmnet_dnsmasq``.
FOLDER contains the package vmnet.
"""

import sys
from importlib import import_module

folder, _, package = sys.path[0].rpartition("/")
sys.path[0] = folder
sys.path.append(sys.argv[1])
import_module(f"{package}.daemon").main(sys.argv[2])
