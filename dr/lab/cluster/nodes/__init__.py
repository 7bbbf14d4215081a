"""The lab's nodes: an agent for each, which is to the control plane what a kubelet is. It runs processes.

Deciding is apart from doing. Pure: ``pools`` (what a node is), ``fields`` (what a pod may ask for), ``environment`` and
``volumes`` (what a container finds), ``pods`` (what is to be done next) and ``status`` (what is told of it). Effects:
``api`` (the API server), ``processes``, ``asking`` (probes), ``disk``, all driven by ``agent``.
"""
