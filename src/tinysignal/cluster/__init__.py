"""Work spread over the workers of a Ray cluster: the processors of this machine, or many machines.

Ray starts and restarts the workers, sends them their items and brings the results. Here is what is
ours: items are few at a time, so that a lost worker costs little; a result that a worker could not
give is a `Fault`, never the end of the others; a run that is broken off tells its workers, which
then leave nothing half done.

::

    engine.py  what was chosen
    join.py    a cluster of our own, or one that is there
    spread.py  items to workers, and their results
"""

from tinysignal.cluster.engine import MACHINES, Engine
from tinysignal.cluster.join import joined
from tinysignal.cluster.spread import Check, Cluster, Fault

__all__ = ["MACHINES", "Check", "Cluster", "Engine", "Fault", "joined"]
