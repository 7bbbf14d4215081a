"""The lab's RDS: the Query API on loopback, with a real PostgreSQL server behind every instance.

``protocol`` speaks HTTP and ``wire`` AWS's format, ``service`` dispatches an action, the ``actions_*`` modules check
and record it, ``work`` carries it out on servers, ``records`` keeps what exists.
"""
