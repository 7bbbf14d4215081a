"""Providers: a folder each, here or in a directory of DR_PLUGINS, which are separated as those of PATH are."""

import os

__path__ += [place for place in os.environ.get("DR_PLUGINS", "").split(os.pathsep) if place]
