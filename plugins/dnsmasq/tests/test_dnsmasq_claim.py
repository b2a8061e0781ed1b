"""The bridge's own address: who watches it, and the words in which it is given up."""

from __future__ import annotations

import json
import os

from vmnet_dnsmasq.responder.log import Log
from vmnet_dnsmasq.service import deliver

from vmnet import testing
from vmnet.testing import resolver


def test_a_spare_address_is_watched_without_ipv6_too() -> None:
    identity = testing.identity(resolver=resolver("127.0.0.11"))
    wiring = testing.wiring(identity, nameserver="172.17.255.254/16")
    delivery = deliver(testing.settings({"VMNET_LOG": "json"}), identity, wiring)
    assert [one.name for one in delivery.daemons] == ["dnsmasq", "the responder"]
    config = json.loads(delivery.files[-1].content)
    assert (config["is_json"], config["nics"]) == (True, [])
    (own,) = config["own"]
    assert (own["bridge"], own["tap"]) == ("br0", "tap0")
    assert (own["address"], own["mac"]) == ("172.17.255.254", wiring.ports[0].bridge_mac)
    assert own["forwards"]


def test_the_log_is_the_containers_in_form() -> None:
    said = {}
    for is_json in (False, True):
        reading, writing = os.pipe()
        Log(writing, is_json).warn("gone", "restart")
        said[is_json] = os.read(reading, 1000).decode()
        os.close(reading)
        Log(writing, is_json).warn("nobody", "reads this")  # and that is no failure
        os.close(writing)
    assert said[False] == "vmnet: warning: gone\nvmnet: hint: restart\n"
    entry = json.loads(said[True])
    assert (entry["level"], entry["message"], entry["hint"]) == ("warning", "gone", "restart")
