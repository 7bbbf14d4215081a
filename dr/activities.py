"""What experiments call: Chaos Toolkit looks for functions of this module. It holds nothing else, since a verb of any
name is to be found here."""

from dr.app import activity as _activity

globals().update(_activity.activities())
