"""The lab's cluster: a real control plane, and the nodes and the platform in it."""
