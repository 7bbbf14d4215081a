"""The steady state before and after a drill's method: does the service answer within its objectives?

Called by: ``dr.activities``.
"""

from __future__ import annotations
