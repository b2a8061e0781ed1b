"""Programs that run as long as the VM: the guard, the keeper and the programs they start.

The guard and the keeper are light programs of :mod:`vmnet.program`. Their modules import no other
room of vmnet, and as little as possible of the standard library, because every import stays in
memory (bench/memory). They import rarely needed modules when they use them.
"""
