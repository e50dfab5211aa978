"""The launch of 2015, played against a running Rollcall through its public interfaces only.

Nothing of Rollcall is imported here, and no store's address is known here: what the story observes is what any
operator, phone or backend could observe.
"""
