"""Why is my loss increasing, and what do I change first?"""

from __future__ import annotations
